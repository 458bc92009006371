package kubeapi

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestNamedAssetsAreUsed(t *testing.T) {
	assets, cache := t.TempDir(), t.TempDir()
	t.Setenv(assetsVariable, assets)
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	for _, program := range required {
		_, err := Assets(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "has no "+program) || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("without %s: %v, want an error that says so and names the remedy", program, err)
		}
		if err := os.WriteFile(filepath.Join(assets, program), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := Assets(t.Context(), nil)
	if err != nil || dir != assets {
		t.Errorf("Assets: %q, %v, want %q", dir, err, assets)
	}
	expectEmpty(t, cache)
}

func TestConcurrentCallersShareOneBuild(t *testing.T) {
	cache := t.TempDir()
	const callers = 4
	var builds atomic.Int32
	waiting := make(chan struct{}, callers)
	build := func(dir string) error {
		builds.Add(1)
		for range callers - 1 {
			<-waiting // until all the others are known to wait for this one
		}
		return os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o700)
	}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			dir, err := once(t.Context(), cache, "kubeapi-x", signalOnWrite(waiting), build)
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
	killed := filepath.Join(cache, "building-killed")
	if err := os.Mkdir(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("out of memory")
	if _, err := once(t.Context(), cache, "kubeapi-x", io.Discard, func(string) error { return failure }); !errors.Is(err, failure) {
		t.Fatalf("once: %v, want %v", err, failure)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*ing-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	dir, err := once(t.Context(), cache, "kubeapi-x", io.Discard, func(string) error { return nil })
	if err != nil || dir != filepath.Join(cache, "kubeapi-x") {
		t.Errorf("after a failed build: %q, %v", dir, err)
	}
}

func TestSourceIsFoundFromTheWorkingDirectory(t *testing.T) {
	want, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(want)
	got, err := sourceAbove(".")
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("source %q, want %q", got, want)
	}
	if _, err := sourceAbove(t.TempDir()); err == nil || !strings.Contains(err.Error(), assetsVariable) {
		t.Errorf("outside a checkout: %v, want an error that names %s", err, assetsVariable)
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
		key, err := cacheKey(source)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("a change of %s and one of %s give the same key", change, other)
		}
		seen[key] = change
	}
}

func TestBuild(t *testing.T) {
	// What the caller builds with must not reach the nested module.
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
	if err := build(t.Context(), source, dir, &progress); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("build: %v, want the compiler's words", err)
	}
	write("main.go", "package main\n\nfunc main() {}\n")
	if err := build(t.Context(), source, dir, &progress); err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		if output, err := exec.CommandContext(t.Context(), filepath.Join(dir, program)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, output)
		}
	}
	if !strings.Contains(progress.String(), "built in") {
		t.Errorf("progress: %q", progress.String())
	}
}

func TestVersionIsTheOneRequired(t *testing.T) {
	source, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(module)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[0] == "k8s.io/kubernetes" && fields[1] != kubernetesVersion {
			t.Errorf("go.mod requires %s, the programs would say %s", fields[1], kubernetesVersion)
		}
		staging := "v0" + strings.TrimPrefix(kubernetesVersion, "v1")
		if len(fields) == 4 && fields[1] == "=>" && fields[3] != staging {
			t.Errorf("go.mod replaces %s by %s, want %s", fields[0], fields[3], staging)
		}
	}
}

func TestBuiltProgramsKnowTheirVersion(t *testing.T) {
	t.Setenv(assetsVariable, "")
	assets, err := Assets(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := shared.Kubeconfig(kubeconfig, shared.AdminConfig()); err != nil {
		t.Fatal(err)
	}
	for program, arguments := range map[string][]string{
		"kube-apiserver": {"--version"},
		"kubectl":        {"version", "--client"},
	} {
		output, err := exec.CommandContext(t.Context(), filepath.Join(assets, program), arguments...).CombinedOutput()
		if err != nil || !strings.Contains(string(output), kubernetesVersion) {
			t.Errorf("%s %v: %v\n%s", program, arguments, err, output)
		}
	}
	output, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "--kubeconfig", kubeconfig, "get", "nodes").CombinedOutput()
	if err != nil || !strings.Contains(string(output), Node) {
		t.Errorf("kubectl get nodes: %v\n%s", err, output)
	}
}
