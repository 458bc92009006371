package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// programs has the paths of the programs that the rig runs.
type programs struct{ allocator, agent, udpEcho, tcpEcho string }

var built struct {
	sync.Mutex
	programs
}

// root gives the module's folder.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// buildPrograms builds the programs from this module's source, once for each process.
// Go's build cache makes that fast if nothing has changed.
func buildPrograms(ctx context.Context, progress io.Writer) (programs, error) {
	built.Lock()
	defer built.Unlock()
	if built.allocator != "" {
		return built.programs, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return programs{}, fmt.Errorf("finding the cache folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(cache, "portlease"), 0o750); err != nil {
		return programs{}, fmt.Errorf("making the cache folder: %w", err)
	}
	// Each process has its own folder, because a concurrent test run may have built
	// another version of the source.
	dir, err := os.MkdirTemp(filepath.Join(cache, "portlease"), "programs-")
	if err != nil {
		return programs{}, fmt.Errorf("making a folder for programs: %w", err)
	}
	_, _ = fmt.Fprintln(progress, "building allocator, agent and the example games")
	p := programs{
		filepath.Join(dir, "allocator"), filepath.Join(dir, "agent"),
		filepath.Join(dir, "udp-echo"), filepath.Join(dir, "tcp-echo"),
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "./allocator", "./agent", "./examples/udp-echo", "./examples/tcp-echo")
	build.Dir = root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	var output bytes.Buffer
	build.Stdout, build.Stderr = &output, &output
	if err := build.Run(); err != nil {
		return programs{}, fmt.Errorf("building the programs: %w\n%s", err, output.Bytes())
	}
	built.programs = p
	return p, nil
}

// RemovePrograms removes the programs that this process built. TestMain and main call
// it.
func RemovePrograms() error {
	built.Lock()
	defer built.Unlock()
	if built.allocator == "" {
		return nil
	}
	dir := filepath.Dir(built.allocator)
	built.programs = programs{}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the built programs: %w", err)
	}
	return nil
}
