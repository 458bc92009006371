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

// page is a file in docs.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../docs", name))
	must(t, err)
	return string(text)
}

// leaves are the paths of all values, with dots; an empty list or map is one.
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

// TestEveryValueIsOnThePage, by itself or by what it is part of, and nothing that is
// no value.
func TestEveryValueIsOnThePage(t *testing.T) {
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
				t.Errorf("the page has %s, which is no value", m[1])
			}
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(there)) {
		if !covered[leaf] {
			t.Errorf("the page says nothing of %s", leaf)
		}
	}
}

// TestThePageNamesWhatIsThere holds names on the page against the code, and its
// example against the chart.
func TestThePageNamesWhatIsThere(t *testing.T) {
	text := page(t, "install.md")
	for _, name := range []string{
		"ConfigMap `" + kubecerts.ConfigMap + "`, key `" + kubecerts.Certificates + "`", "Lease `" + kubelease.HeldLease + "`",
	} {
		if !strings.Contains(text, name) {
			t.Errorf("the page does not name %s", name)
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
		t.Errorf("the page's values render something else than the case plain: %s", difference(string(plain), rendered))
	}
	// Rendering twice gives the same.
	if again, err := newHelm(t).Render(t.Context(), path); err != nil || again != rendered {
		t.Errorf("rendered again it is different, %v: %s", err, difference(rendered, again))
	}
}

// TestThePagesChecks holds the commands that look before and after the installation
// against what is there.
func TestThePagesChecks(t *testing.T) {
	_, after, _ := strings.Cut(page(t, "install.md"), "go run ./allocator check ")
	arguments, _, _ := strings.Cut(after, "\n")
	c, err := allocator.Parse(strings.Fields(arguments), func(string) string { return "" }, io.Discard)
	must(t, err)
	plain, err := os.ReadFile("testdata/plain.golden.yaml")
	must(t, err)
	want := parsed(t, string(plain))
	want.Kubeconfig, want.PoolFile = "~/.kube/config", "pools.yaml"
	if c != want {
		t.Errorf("from a laptop the settings are %+v, and those of the pod %+v", c, want)
	}
	image, err := os.ReadFile("../../../Dockerfile.allocator")
	must(t, err)
	for _, name := range []string{"install.md", "operations.md"} {
		if !strings.Contains(page(t, name), "kubectl exec -n "+chart.Namespace+" deploy/portlease-allocator -- /allocator check") {
			t.Errorf("docs/%s does not say how to check in the pod", name)
		}
	}
	if !strings.Contains(string(image), `ENTRYPOINT ["/allocator"]`) {
		t.Error("the image has its program elsewhere")
	}
}
