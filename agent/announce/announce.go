// Package announce tells the game server its endpoint, through files in a shared
// volume and over HTTP.
//
//	host         what players dial
//	port         the first listener port
//	endpoint     host:port of the first
//	ports/<name> the listener port of each named port
//	env          all of it for a shell or a fileKeyRef: PORTLEASE_HOST='…'
//	claim.json   the whole Document
//
// Each file appears at once and whole. The file endpoint is written last and
// removed first: while it is there, so are the others. It promises nothing about
// other files in the folder and never touches them.
package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/portlease/portlease/shared/api"
)

// The game server may run as any user, so everybody may read.
const (
	fileMode   = 0o644
	folderMode = 0o755
)

// The files' names, in the folder.
const (
	FileHost     = "host"
	FilePort     = "port"
	FileEndpoint = "endpoint"
	FileEnv      = "env"
	FileClaim    = "claim.json"
	FolderPorts  = "ports" // one file for each port, by its name
)

// The variables in the file env.
const (
	EnvHost     = "PORTLEASE_HOST"
	EnvPort     = "PORTLEASE_PORT"
	EnvEndpoint = "PORTLEASE_ENDPOINT"
	// EnvPortOf has the name of a port after it: in capitals, a hyphen as an
	// underscore.
	EnvPortOf = "PORTLEASE_PORT_"
)

// Files writes into one folder, which must exist.
type Files struct{ Dir string }

type file struct{ name, text string }

// Announce writes the files of a claim and removes those of ports that it does
// not have.
func (f Files) Announce(_ context.Context, c api.Claim) error {
	d, err := Describe(c)
	if err != nil {
		return fmt.Errorf("writing the files: %w", err)
	}
	files, err := contents(d)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(f.Dir, FolderPorts), folderMode); err != nil {
		return fmt.Errorf("making the folder of ports: %w", err)
	}
	// The umask may have taken rights away.
	if err := os.Chmod(filepath.Join(f.Dir, FolderPorts), folderMode); err != nil {
		return fmt.Errorf("opening the folder of ports: %w", err)
	}
	if err := f.removeStale(d.Ports); err != nil {
		return err
	}
	for _, one := range files {
		if err := write(filepath.Join(f.Dir, one.name), one.text); err != nil {
			return err
		}
	}
	return nil
}

// Withdraw removes the files, endpoint first. None being there is success.
func (f Files) Withdraw(context.Context) error {
	var failed []error
	for _, name := range []string{FileEndpoint, FileEnv, FilePort, FileHost, FileClaim} {
		if err := os.Remove(filepath.Join(f.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("withdrawing %s: %w", name, err))
		}
	}
	return errors.Join(append(failed, f.removeStale(nil))...)
}

// removeStale removes the files of all ports but those to keep.
func (f Files) removeStale(keep []Port) error {
	entries, err := os.ReadDir(filepath.Join(f.Dir, FolderPorts))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the folder of ports: %w", err)
	}
	for _, entry := range entries {
		if slices.ContainsFunc(keep, func(p Port) bool { return p.Name == entry.Name() }) {
			continue
		}
		if err := os.Remove(filepath.Join(f.Dir, FolderPorts, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("withdrawing port %s: %w", entry.Name(), err)
		}
	}
	return nil
}

// contents are the files of a document in the order of writing.
func contents(d Document) ([]file, error) {
	whole, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the document: %w", err)
	}
	port := strconv.Itoa(d.Ports[0].ListenerPort)
	variables := []file{{EnvHost, d.Host}, {EnvPort, port}, {EnvEndpoint, d.Endpoint}}
	files := []file{{FileClaim, string(whole) + "\n"}}
	for _, p := range d.Ports {
		number := strconv.Itoa(p.ListenerPort)
		files = append(files, file{filepath.Join(FolderPorts, p.Name), number + "\n"})
		variables = append(variables, file{EnvPortOf + strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), number})
	}
	var env strings.Builder
	for _, v := range variables {
		// No host or port has a quote in it; one that had would break the shell
		// that reads this.
		if strings.ContainsAny(v.text, "'\n") {
			return nil, fmt.Errorf("writing env: %s is %q, which cannot be quoted", v.name, v.text)
		}
		env.WriteString(v.name + "='" + v.text + "'\n")
	}
	return append(files,
		file{FileHost, d.Host + "\n"},
		file{FilePort, port + "\n"},
		file{FileEnv, env.String()},
		file{FileEndpoint, d.Endpoint + "\n"},
	), nil
}

// write replaces a file at once. The name of the half-written one is always the
// same, so that a crash leaves at most one behind, which the next write takes.
func write(path, text string) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".portlease")
	if err := os.WriteFile(temporary, []byte(text), fileMode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	// The umask may have taken rights away.
	if err := os.Chmod(temporary, fileMode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
