package kubeapi

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

	"github.com/gofrs/flock"
)

// nestedEnvironment isolates the build of a nested module from the caller's flags and
// workspace.
var nestedEnvironment = []string{"GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0", "GOOS=", "GOARCH="}

// lockPollEvery is how often a process retries a lock that another process holds.
const lockPollEvery = 200 * time.Millisecond

// buildOnce returns the folder for key inside cache. If the folder does not exist, it
// calls fill. One of several concurrent processes fills it; the others wait. The folder
// appears complete or not at all.
func (p Program) buildOnce(ctx context.Context, cache, key string, progress io.Writer, fill func(dir string) error) (_ string, err error) {
	dir := filepath.Join(cache, p.Name+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	unlock, err := p.lock(ctx, filepath.Join(cache, p.Name+".lock"), progress)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// This process holds the lock, so these folders were left by killed processes.
	unfinished := p.Name + ".building-*"
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

// lock takes the lock file and waits while another process holds it, until ctx ends. The
// kernel releases the lock when this process ends.
func (p Program) lock(ctx context.Context, path string, progress io.Writer) (unlock func() error, err error) {
	lock := flock.New(path)
	locked, err := lock.TryLock()
	if err == nil && !locked {
		fmt.Fprintf(progress, "%s: waiting for another process that builds it\n", p.Name)
		_, err = lock.TryLockContext(ctx, lockPollEvery)
	}
	if err != nil {
		return nil, fmt.Errorf("taking the lock %s: %w", path, err)
	}
	return lock.Unlock, nil
}

// buildIn builds the module at source into dir and links each name to the binary.
func (p Program) buildIn(ctx context.Context, source, dir string, progress io.Writer) error {
	fmt.Fprintf(progress, "%s: building %s\n", p.Name, p.Description)
	start := time.Now()
	what := p.Package
	if what == "" {
		what = "."
	}
	cmd := exec.CommandContext(ctx, "go", slices.Concat(p.arguments(), []string{"-o", filepath.Join(dir, p.Binary), what})...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), nestedEnvironment...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	sign := time.NewTicker(20 * time.Second)
	defer sign.Stop()
	for {
		select {
		case <-sign.C:
			fmt.Fprintf(progress, "%s: … %v\n", p.Name, time.Since(start).Round(time.Second))
			continue
		case err := <-done:
			if err != nil {
				return fmt.Errorf("building %s: %w\n%s", p.Name, err, output.Bytes())
			}
		}
		break
	}
	for _, name := range p.Links {
		if err := os.Symlink(p.Binary, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("naming %s: %w", p.Name, err)
		}
	}
	fmt.Fprintf(progress, "%s: built in %v\n", p.Name, time.Since(start).Round(time.Second))
	return nil
}
