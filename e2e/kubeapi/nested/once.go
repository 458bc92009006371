package nested

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi/flock"
)

// environment makes the go tool see the nested module alone, whatever flags and
// workspace the caller's module uses.
var environment = []string{"GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0", "GOOS=", "GOARCH="}

// once returns the folder of that key inside cache, and lets fill fill it if it does
// not exist. Of several processes that ask at once one fills and the others wait.
// The folder appears whole or not at all.
func (m Module) once(ctx context.Context, cache, key string, progress io.Writer, fill func(dir string) error) (_ string, err error) {
	dir := filepath.Join(cache, m.Name+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	lock, err := flock.Wait(ctx, filepath.Join(cache, m.Name+".lock"), func() {
		fmt.Fprintf(progress, "%s: waiting for another process that builds it\n", m.Name)
	})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Whoever left such a folder behind was killed: this process has the lock.
	unfinished := m.Name + ".building-*"
	leftovers, err := filepath.Glob(filepath.Join(cache, unfinished))
	if err != nil {
		return "", fmt.Errorf("listing unfinished builds: %w", err)
	}
	for _, leftover := range leftovers {
		if err := os.RemoveAll(leftover); err != nil {
			return "", fmt.Errorf("removing an unfinished build: %w", err)
		}
	}
	building, err := os.MkdirTemp(cache, unfinished)
	if err != nil {
		return "", fmt.Errorf("making a folder to build in: %w", err)
	}
	if err := fill(building); err != nil {
		return "", errors.Join(err, os.RemoveAll(building))
	}
	if err := os.Rename(building, dir); err != nil {
		return "", fmt.Errorf("putting the build in its place: %w", err)
	}
	return dir, nil
}

// build builds the module at source into dir and links each name to the result.
func (m Module) build(ctx context.Context, source, dir string, progress io.Writer) error {
	fmt.Fprintf(progress, "%s: building %s\n", m.Name, m.Announced)
	start := time.Now()
	what := m.Package
	if what == "" {
		what = "."
	}
	cmd := exec.CommandContext(ctx, "go", slices.Concat(m.arguments(), []string{"-o", filepath.Join(dir, m.Program), what})...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), environment...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	sign := time.NewTicker(20 * time.Second)
	defer sign.Stop()
	for {
		select {
		case <-sign.C:
			fmt.Fprintf(progress, "%s: … %v\n", m.Name, time.Since(start).Round(time.Second))
			continue
		case err := <-done:
			if err != nil {
				return fmt.Errorf("building %s: %w\n%s", m.Name, err, output.Bytes())
			}
		}
		break
	}
	for _, name := range m.Links {
		if err := os.Symlink(m.Program, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("naming %s: %w", m.Name, err)
		}
	}
	fmt.Fprintf(progress, "%s: built in %v\n", m.Name, time.Since(start).Round(time.Second))
	return nil
}
