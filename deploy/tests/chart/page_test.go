package chart_test

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	allocator "github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/deploy/tests/chart"
)

// page returns a file in docs.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../docs", name))
	must(t, err)
	return string(text)
}

// leaves adds the dotted paths of all values to found; an empty list or map is a value.
func leaves(at string, value any, found map[string]bool) {
	m, ok := value.(map[string]any)
	if !ok || len(m) == 0 {
		found[at] = true
		return
	}
	for key, below := range m {
		leaves(strings.TrimPrefix(at+"."+key, "."), below, found)
	}
}

// TestInstallPageListsEveryValue checks that the table lists each value, or a parent
// of it, and nothing else.
func TestInstallPageListsEveryValue(t *testing.T) {
	there := make(map[string]bool)
	leaves("", values(t, filepath.Join(chart.Folder(), "values.yaml")), there)
	_, table, _ := strings.Cut(page(t, "install.md"), "\n| value | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	covered := make(map[string]bool)
	for row := range strings.Lines(table) {
		cells := strings.SplitN(row, "|", 3)
		if len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			before := len(covered)
			for leaf := range there {
				if leaf == m[1] || strings.HasPrefix(leaf, m[1]+".") {
					covered[leaf] = true
				}
			}
			if len(covered) == before {
				t.Errorf("docs/install.md lists %s, which is not a value of the chart", m[1])
			}
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(there)) {
		if !covered[leaf] {
			t.Errorf("docs/install.md does not list %s", leaf)
		}
	}
}

// TestInstallPageMatchesCodeAndChart compares names on the page with the code, and what
// its example renders with the golden file plain.
func TestInstallPageMatchesCodeAndChart(t *testing.T) {
	text := page(t, "install.md")
	for _, name := range []string{
		"ConfigMap `" + kubecerts.ConfigMap + "`, key `" + kubecerts.Certificates + "`", "Lease `" + kubelease.HeldLease + "`",
	} {
		if !strings.Contains(text, name) {
			t.Errorf("docs/install.md does not name %s", name)
		}
	}
	_, after, _ := strings.Cut(text, "```yaml\n")
	example, _, _ := strings.Cut(after, "```")
	path := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(path, []byte(example), 0o600))
	rendered, err := newHelm(t).Render(t.Context(), path)
	must(t, err)
	plain, err := os.ReadFile("testdata/plain.golden.yaml")
	must(t, err)
	if rendered != string(plain) {
		t.Errorf("the values of docs/install.md render something else than the case plain: %s", difference(string(plain), rendered))
	}
	// Rendering twice gives the same.
	if again, err := newHelm(t).Render(t.Context(), path); err != nil || again != rendered {
		t.Errorf("the second rendering differs, %v: %s", err, difference(rendered, again))
	}
}

// TestDocumentedCheckCommands compares the documented check commands with the
// allocator's flags, the pod's settings and the image.
func TestDocumentedCheckCommands(t *testing.T) {
	_, after, _ := strings.Cut(page(t, "install.md"), "go run ./allocator check ")
	arguments, _, _ := strings.Cut(after, "\n")
	c, err := allocator.Parse(strings.Fields(arguments), func(string) string { return "" }, io.Discard)
	must(t, err)
	plain, err := os.ReadFile("testdata/plain.golden.yaml")
	must(t, err)
	want := parsed(t, string(plain))
	want.Kubeconfig, want.PoolFile = "~/.kube/config", "pools.yaml"
	if c != want {
		t.Errorf("the command for a laptop gives the settings %+v, the pod has %+v", c, want)
	}
	image, err := os.ReadFile("../../../Dockerfile.allocator")
	must(t, err)
	for _, name := range []string{"install.md", "operations.md"} {
		if !strings.Contains(page(t, name), "kubectl exec -n "+chart.Namespace+" deploy/portlease-allocator -- /allocator check") {
			t.Errorf("docs/%s does not say how to check in the pod", name)
		}
	}
	if !strings.Contains(string(image), `ENTRYPOINT ["/allocator"]`) {
		t.Error("the entry point of Dockerfile.allocator is not /allocator")
	}
}
