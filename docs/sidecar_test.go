package docs_test

import (
	"fmt"
	"maps"
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

// blocks are the two of docs/sidecar.md that a pod gets by hand: the agent and its
// volumes, with their comments.
func blocks(t *testing.T) (found []string) {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, "docs/sidecar.md"), "\n## By hand\n")
	for _, part := range strings.Split(rest, "\n```yaml\n")[1:3] {
		block, _, _ := strings.Cut(part, "```\n")
		if !strings.HasPrefix(block, "- name: portlease") {
			t.Fatalf("this is no block:\n%s", block)
		}
		found = append(found, block)
	}
	return found
}

var lineStart = regexp.MustCompile(`(?m)^`)

// TestTheBlockIsTheSameEverywhere compares comments too: whoever changes one, changes
// all.
func TestTheBlockIsTheSameEverywhere(t *testing.T) {
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
				t.Errorf("%s does not have this block of docs/sidecar.md:\n%s", path, block)
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d of %d have the block by hand", seen, len(manifests))
	}
}

// TestTheExamplesAreTaken applies them all: the API server refuses fields that it
// does not know.
func TestTheExamplesAreTaken(t *testing.T) {
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

// TestThePageHasTheAnnotations holds its first table to those that the chart reads.
func TestThePageHasTheAnnotations(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "docs/sidecar.md"), "\n| annotation | says |\n")
	table, _, _ := strings.Cut(rest, "\n\n")
	named := map[string]bool{"portlease.dev/inject": true} // a label
	for line := range strings.Lines(table) {
		named[annotation.FindString(line)] = true
	}
	delete(named, "") // the rule under the heading
	there := make(map[string]bool)
	for _, path := range []string{"_agent.tpl", "injection.yaml"} {
		for _, name := range annotation.FindAllString(read(t, "deploy/chart/templates/"+path), -1) {
			there[name] = true
		}
	}
	if !maps.Equal(named, there) {
		t.Errorf("the page names %v, the chart reads %v", named, there)
	}
}

// TestThePageKnowsHowLongAFleetWaits reckons by the bucket that is the tightest.
func TestThePageKnowsHowLongAFleetWaits(t *testing.T) {
	limits := budget.Default().Mutating
	minutes := func(ports, calls float64) int {
		seconds := (1000*ports*calls - limits.Burst) / limits.PerSecond
		return int((time.Duration(seconds) * time.Second).Round(time.Minute).Minutes())
	}
	plain := budget.CreateCost.Mutating
	dear := plain + budget.AttributesCost.Mutating
	want := fmt.Sprintf("after %d minutes, or %d; with two ports each, after %d, or %d.", minutes(1, plain), minutes(1, dear), minutes(2, plain), minutes(2, dear))
	if !strings.Contains(strings.Join(strings.Fields(read(t, "docs/sidecar.md")), " "), want) {
		t.Errorf("the page does not say %q", want)
	}
}
