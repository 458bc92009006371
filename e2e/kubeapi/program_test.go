package kubeapi

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tiny is built from a module that the tests write.
var tiny = Program{Name: "tiny", Binary: "program", Links: []string{"other", "another"}, Description: "something small"}

func TestConcurrentCallersShareOneBuild(t *testing.T) {
	cache := t.TempDir()
	const callers = 4
	var builds atomic.Int32
	waiting := make(chan struct{}, callers)
	build := func(dir string) error {
		builds.Add(1)
		for range callers - 1 {
			<-waiting // until all other callers are known to wait for this one
		}
		return os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o700)
	}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			dir, err := tiny.buildOnce(t.Context(), cache, "x", signalOnWrite(waiting), build)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "etcd")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("%d builds, want 1", n)
	}
}

type signalOnWrite chan<- struct{}

func (s signalOnWrite) Write(line []byte) (int, error) {
	s <- struct{}{}
	return len(line), nil
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	cache := t.TempDir()
	killed := filepath.Join(cache, "tiny.building-killed")
	if err := os.Mkdir(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("out of memory")
	if _, err := tiny.buildOnce(t.Context(), cache, "x", io.Discard, func(string) error { return failure }); !errors.Is(err, failure) {
		t.Fatalf("once: %v, want %v", err, failure)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*ing-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	dir, err := tiny.buildOnce(t.Context(), cache, "x", io.Discard, func(string) error { return nil })
	if err != nil || dir != filepath.Join(cache, "tiny-x") {
		t.Errorf("after a failed build: %q, %v", dir, err)
	}
}

func TestWaitingForABuildEndsWithItsContext(t *testing.T) {
	cache := t.TempDir()
	building, finish := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := tiny.buildOnce(t.Context(), cache, "x", io.Discard, func(string) error {
			close(building)
			<-finish
			return nil
		})
		first <- err
	}()
	<-building
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var progress strings.Builder
	_, err := tiny.buildOnce(ctx, cache, "x", &progress, func(string) error { return errors.New("built twice") })
	if told := strings.Count(progress.String(), "waiting"); !errors.Is(err, context.DeadlineExceeded) || told != 1 {
		t.Errorf("second caller: %v, told to wait %d times, want %v, told once", err, told, context.DeadlineExceeded)
	}
	close(finish)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	unlock, err := tiny.lock(t.Context(), filepath.Join(cache, "tiny.lock"), &progress)
	if err != nil || strings.Count(progress.String(), "waiting") != 1 {
		t.Fatalf("a free lock: %v, progress %q", err, progress.String())
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestSourceIsFoundFromTheWorkingDirectory(t *testing.T) {
	m := Program{Folder: "e2e/kubeapi/server", Binary: "server", Remedy: "go without"}
	want, err := m.source()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(want)
	got, err := m.sourceAbove(".")
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("source %q, want %q", got, want)
	}
	if _, err := m.sourceAbove(t.TempDir()); err == nil || !strings.Contains(err.Error(), "sources of server") || !strings.Contains(err.Error(), m.Remedy) {
		t.Errorf("outside a checkout: %v, want an error that says what else there is to do", err)
	}
}

func TestCacheKeyFollowsTheSources(t *testing.T) {
	source := t.TempDir()
	seen := map[string]string{}
	for _, change := range []string{"go.mod", "go.sum", "main.go"} {
		for _, file := range []string{"go.mod", "go.sum", "main.go"} {
			content := ""
			if file == change {
				content = "changed"
			}
			if err := os.WriteFile(filepath.Join(source, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		key, err := tiny.key(source)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("a change of %s and one of %s give the same key", change, other)
		}
		seen[key] = change
	}
	flagged := tiny
	flagged.Flags = []string{"-trimpath"}
	elsewhere := tiny
	elsewhere.Package = "example.com/other"
	for _, m := range []Program{flagged, elsewhere} {
		if key, err := m.key(source); err != nil || seen[key] != "" {
			t.Errorf("%+v has the key of %+v, %v", m, tiny, err)
		}
	}
}

func TestNestedModuleIsBuiltWithoutTheCallersEnvironment(t *testing.T) {
	// The caller's flags and workspace must not reach the nested module.
	t.Setenv("GOFLAGS", "-mod=vendor")
	t.Setenv("GOWORK", filepath.Join(t.TempDir(), "go.work"))
	source, dir := t.TempDir(), t.TempDir()
	write := func(file, content string) {
		if err := os.WriteFile(filepath.Join(source, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module tiny\n\ngo 1.26\n")
	write("main.go", "package main\n\nfunc main() { undefined() }\n")
	var progress strings.Builder
	if err := tiny.buildIn(t.Context(), source, dir, &progress); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("build: %v, want the compiler's words", err)
	}
	write("main.go", "package main\n\nfunc main() {}\n")
	if err := tiny.buildIn(t.Context(), source, dir, &progress); err != nil {
		t.Fatal(err)
	}
	for _, program := range append([]string{tiny.Binary}, tiny.Links...) {
		if output, err := exec.CommandContext(t.Context(), filepath.Join(dir, program)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, output)
		}
	}
	if !strings.Contains(progress.String(), "built in") {
		t.Errorf("progress: %q", progress.String())
	}
}
