package kubeapi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAssetsUsesTheFolderInKubebuilderAssets(t *testing.T) {
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

func TestKubernetesVersionMatchesGoMod(t *testing.T) {
	module, err := os.ReadFile(filepath.Join("server", "go.mod"))
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

func TestBuiltProgramsReportTheKubernetesVersion(t *testing.T) {
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
