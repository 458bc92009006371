// Package announce tells the game server its endpoint, by files in a shared volume and
// over HTTP.
//
//	host         what players dial
//	port         the first listener port
//	endpoint     host:port of the first
//	ports/<name> the listener port of each named port
//	env          all of it for a shell or a fileKeyRef: PORTLEASE_HOST='…'
//	claim.json   the whole Document
//
// Files are replaced atomically. The file endpoint is written last and removed first:
// while it exists, so do the others. Other files in the folder are never touched.
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

// The game server may run as any user, so all users may read.
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
	// EnvPortOf precedes the name of a port, in upper case, with underscores for hyphens.
	EnvPortOf = "PORTLEASE_PORT_"
)

// Files writes into one folder, which must exist.
type Files struct{ Dir string }

type file struct{ name, text string }

// Announce writes the files of a claim, and removes those of ports that the claim does
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
		return fmt.Errorf("creating the folder of ports: %w", err)
	}
	// The umask may have removed permissions.
	if err := os.Chmod(filepath.Join(f.Dir, FolderPorts), folderMode); err != nil {
		return fmt.Errorf("changing the mode of the folder of ports: %w", err)
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

// Withdraw removes the files, endpoint first. It succeeds if there are none.
func (f Files) Withdraw(context.Context) error {
	var failed []error
	for _, name := range []string{FileEndpoint, FileEnv, FilePort, FileHost, FileClaim} {
		if err := os.Remove(filepath.Join(f.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("removing %s: %w", name, err))
		}
	}
	return errors.Join(append(failed, f.removeStale(nil))...)
}

// removeStale removes the files of all other ports.
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
			return fmt.Errorf("removing port %s: %w", entry.Name(), err)
		}
	}
	return nil
}

// contents returns the files of a document in the order of writing.
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
		// No valid host or port has a quote. One with a quote would inject code into the
		// shell that reads this.
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

// write replaces a file atomically. The temporary file always has the same name, so a
// crash leaves at most one behind, which the next write replaces.
func write(path, text string) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".portlease")
	if err := os.WriteFile(temporary, []byte(text), fileMode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	// The umask may have removed permissions.
	if err := os.Chmod(temporary, fileMode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
