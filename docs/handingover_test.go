package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/api"
)

// root is the module's folder, seen from this one.
const root = ".."

// page returns docs/handing-over.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/handing-over.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var quoted = regexp.MustCompile("`([^`]+)`")

// table returns the names in the first column of the table with that heading.
func table(t *testing.T, heading string) []string {
	t.Helper()
	_, rest, found := strings.Cut(page(t), "\n| "+heading+" |")
	if !found {
		t.Fatalf("docs/handing-over.md has no table with the heading %q", heading)
	}
	var names []string
	for i, line := range strings.Split(rest, "\n") {
		if i < 2 { // the rest of the heading, and the rule under it
			continue
		}
		if !strings.HasPrefix(line, "| ") {
			break
		}
		first, _, _ := strings.Cut(line[2:], " | ")
		for _, m := range quoted.FindAllStringSubmatch(first, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// agree fails unless the table with that heading lists exactly what there is.
func agree(t *testing.T, heading string, there []string) {
	t.Helper()
	named := table(t, heading)
	slices.Sort(named)
	slices.Sort(there)
	if !slices.Equal(named, there) {
		t.Errorf("table %q of docs/handing-over.md lists\n%q, want\n%q", heading, named, there)
	}
}

var claim = api.Claim{
	UID: "u", Namespace: "games", Pod: "game", PodUID: "p", Pool: "default",
	LoadBalancer: api.LoadBalancer{ARN: "arn:lb", Host: "games.example", Addresses: []string{"198.51.100.1"}},
	Ports: []api.ClaimedPort{
		{Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: 30007, TargetGroupARN: "arn:tg-1", ListenerARN: "arn:l-1"},
		{Port: api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP}, ListenerPort: 30008, TargetGroupARN: "arn:tg-2", ListenerARN: "arn:l-2"},
	},
}

// handOver returns a folder with the files that the agent writes for the game.
func handOver(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := (announce.Files{Dir: dir}).Announce(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ofAnyPort replaces the names of this claim's ports with the page's placeholder, and
// merges the entries of both ports.
func ofAnyPort(names []string, placeholder string, ports ...string) []string {
	var general []string
	for _, name := range names {
		for _, port := range ports {
			if prefix, ok := strings.CutSuffix(name, port); ok {
				name = prefix + placeholder
			}
		}
		general = append(general, name)
	}
	slices.Sort(general)
	return slices.Compact(general)
}

func TestHandingOverPageListsFiles(t *testing.T) {
	dir := handOver(t)
	var files []string
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(dir, path)
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	agree(t, "file", ofAnyPort(files, "<name>", "game", "chat"))
}

// variables returns the names in the file env.
func variables(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, announce.FileEnv))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	return names
}

func TestHandingOverPageListsVariables(t *testing.T) {
	agree(t, "variable", ofAnyPort(variables(t, handOver(t)), "<NAME>", "GAME", "CHAT"))
}

func TestHandingOverPageListsFields(t *testing.T) {
	agree(t, "field", fieldsOf(reflect.TypeFor[announce.Document](), ""))
	if !strings.Contains(page(t), fmt.Sprintf("\n| `version` | %d |", announce.Version)) {
		t.Errorf("docs/handing-over.md does not say that the version is %d", announce.Version)
	}
}

func fieldsOf(typ reflect.Type, prefix string) []string {
	var names []string
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, prefix+name)
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			names = append(names, fieldsOf(f.Type.Elem(), prefix+name+"[].")...)
		}
	}
	return names
}

// constants returns the values of agent/ownpod's string constants with that prefix.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "agent/ownpod/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) == 0 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
			return true
		})
	}
	return values
}

func TestHandingOverPageListsAnnotationsAndCondition(t *testing.T) {
	agree(t, "annotation", constants(t, "Annotation"))
	agree(t, "condition", constants(t, "Condition"))
}

func TestHandingOverPageListsLocalCalls(t *testing.T) {
	agree(t, "call", []string{
		http.MethodGet + " " + announce.PathEndpoint,
		"POST " + app.PathReady, "POST " + app.PathNotReady, "POST " + app.PathDrained, "POST " + app.PathPreStop,
	})
	if !strings.Contains(page(t), "`"+api.HealthPath+"`") {
		t.Errorf("docs/handing-over.md does not name %s", api.HealthPath)
	}
}
