package docs_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources is the text of all Go files in a folder, without tests.
func sources(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			path, err = filepath.Rel(root, path)
			all.WriteString(read(t, path))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

var listedMetric = regexp.MustCompile("(?m)^\\| `(portlease_[a-z_]+)(\\{[a-z_,]+\\})?` \\|")

// TestOperationsPageListsTheAgentsMetrics with their labels. The allocator's are compared
// in allocator/metrics.
func TestOperationsPageListsTheAgentsMetrics(t *testing.T) {
	registered, listed := map[string]bool{}, map[string]bool{}
	label := regexp.MustCompile(`([a-z]+)=`)
	for _, m := range regexp.MustCompile("[\"`](portlease_[a-z_]+)(\\{[^}]*\\})?[\"`]").FindAllStringSubmatch(sources(t, "agent"), -1) {
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		name := m[1]
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		registered[name] = true
	}
	for _, m := range listedMetric.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		if strings.HasPrefix(m[1], "portlease_agent_") {
			listed[m[1]+m[2]] = true
		}
	}
	agreeSets(t, "docs/operations.md", listed, registered)
}

// TestPagesNameListedMetrics: alerts and advice name only metrics of the tables.
func TestPagesNameListedMetrics(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range listedMetric.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		listed[m[1]] = true
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		path, err := filepath.Rel(root, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bportlease_[a-z_]+`).FindAllString(read(t, path), -1) {
			if !listed[name] {
				t.Errorf("%s names the metric %s, which docs/operations.md does not list", path, name)
			}
		}
	}
}

// TestOperationsPageListsTheAllocatorsEvents holds the page's table against the
// reasons that the janitor passes on.
func TestOperationsPageListsTheAllocatorsEvents(t *testing.T) {
	_, section, found := strings.Cut(read(t, "docs/operations.md"), "\n## Events of the allocator\n")
	if !found {
		t.Fatal("docs/operations.md has no section on the allocator's events")
	}
	listed, written := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(section, -1) {
		listed[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`PodUID, "([A-Z][A-Za-z]+)"`).FindAllStringSubmatch(sources(t, "allocator/janitor"), -1) {
		written[m[1]] = true
	}
	agreeSets(t, "docs/operations.md", listed, written)
}

// TestSymptomsNameEventsOfTheAgent: every event in the table of symptoms is one that
// docs/agent.md explains.
func TestSymptomsNameEventsOfTheAgent(t *testing.T) {
	_, events, _ := strings.Cut(read(t, "docs/agent.md"), "\n## Events\n")
	named := regexp.MustCompile("(?m)^\\| event `([A-Za-z]+)`").FindAllStringSubmatch(read(t, "docs/operations.md"), -1)
	if len(named) < 3 {
		t.Fatalf("docs/operations.md has only the symptoms %v", named)
	}
	for _, m := range named {
		if !strings.Contains(events, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md names the event %s, which docs/agent.md does not explain", m[1])
		}
	}
}
