package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the two YAML blocks of docs/sidecar.md that are added by hand: the agent
// and its volumes, with their comments.
func blocks(t *testing.T) (found []string) {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, "docs/sidecar.md"), "\n## By hand\n")
	for _, part := range strings.Split(rest, "\n```yaml\n")[1:3] {
		block, _, _ := strings.Cut(part, "```\n")
		if !strings.HasPrefix(block, "- name: portlease") {
			t.Fatalf("docs/sidecar.md, By hand: this is not the block of the agent or its volumes:\n%s", block)
		}
		found = append(found, block)
	}
	return found
}

var lineStart = regexp.MustCompile(`(?m)^`)

// TestAgentBlockIsTheSameInPagesAndExamples compares comments, too, so that a change in
// one place is made in all.
func TestAgentBlockIsTheSameInPagesAndExamples(t *testing.T) {
	manifests, err := filepath.Glob(filepath.Join(root, "examples/*/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range append(manifests, filepath.Join(root, "docs/handing-over.md")) {
		path, err = filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, path)
		if strings.Contains(text, `portlease.dev/inject: "true"`) {
			continue // the cluster adds it
		}
		seen++
		for _, block := range blocks(t) {
			in := func(spaces int) string {
				return "\n" + strings.TrimRight(lineStart.ReplaceAllString(block, strings.Repeat(" ", spaces)), " ")
			}
			if !strings.Contains(text, in(2)) && !strings.Contains(text, in(6)) {
				t.Errorf("%s lacks this block of docs/sidecar.md:\n%s", path, block)
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d of %d manifests have the block by hand", seen, len(manifests))
	}
}

// TestAPIServerAcceptsExamples applies every example: the API server refuses unknown
// fields.
func TestAPIServerAcceptsExamples(t *testing.T) {
	namespace, err := cluster.Namespace(t.Context(), "examples")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.ServiceAccount(t.Context(), namespace, "game"); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(root, "examples/*/*.yaml"))
	if err != nil || len(manifests) < 5 {
		t.Fatalf("found %v, %v", manifests, err)
	}
	for _, path := range manifests {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := cluster.Apply(t.Context(), []byte(strings.Replace(string(text), "namespace: games\n", "namespace: "+namespace+"\n", 1))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

var annotation = regexp.MustCompile(`portlease\.dev/[a-z]+`)

// TestSidecarPageListsAnnotations compares the page's table with the annotations that
// the chart reads.
func TestSidecarPageListsAnnotations(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "docs/sidecar.md"), "\n| annotation | says |\n")
	table, _, _ := strings.Cut(rest, "\n\n")
	listed := map[string]bool{"portlease.dev/inject": true} // a label
	for line := range strings.Lines(table) {
		listed[annotation.FindString(line)] = true
	}
	delete(listed, "") // the rule under the heading
	there := make(map[string]bool)
	for _, path := range []string{"_agent.tpl", "injection.yaml"} {
		for _, name := range annotation.FindAllString(read(t, "deploy/chart/templates/"+path), -1) {
			there[name] = true
		}
	}
	agreeSets(t, "docs/sidecar.md", listed, there)
}

// TestSidecarPageSaysHowLongAFleetWaits computes the page's table from the bucket that
// limits binding.
func TestSidecarPageSaysHowLongAFleetWaits(t *testing.T) {
	limits := budget.Default().Mutating
	minutes := func(ports, calls float64) int {
		seconds := (1000*ports*calls - limits.Burst) / limits.PerSecond
		return int((time.Duration(seconds) * time.Second).Round(time.Minute).Minutes())
	}
	plain := budget.CreateCost.Mutating
	withAttributes := plain + budget.AttributesCost.Mutating
	for ports, name := range map[float64]string{1: "1 port", 2: "2 ports"} {
		want := fmt.Sprintf("\n| %s | %d minutes | %d minutes |\n", name, minutes(ports, plain), minutes(ports, withAttributes))
		if !strings.Contains(read(t, "docs/sidecar.md"), want) {
			t.Errorf("docs/sidecar.md does not have the row %q", want)
		}
	}
}
