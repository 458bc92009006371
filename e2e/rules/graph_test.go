package rules_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// graph is the import graph without tests: import path → imports.
type graph struct {
	direct map[string][]string
	// all has what is imported indirectly too.
	all map[string][]string
}

func readGraph(t *testing.T) graph {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	g := graph{make(map[string][]string), make(map[string][]string)}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g.direct[p.ImportPath], g.all[p.ImportPath] = p.Imports, p.Deps
	}
}

// under returns the module's own packages that match patterns: "shared/api" is that
// package, "agent/..." also everything below.
func (g graph) under(patterns ...string) []string {
	var found []string
	for p := range g.direct {
		if slices.ContainsFunc(patterns, func(pattern string) bool { return matches(module+"/"+pattern, p) }) {
			found = append(found, p)
		}
	}
	slices.Sort(found)
	return found
}

func matches(pattern, path string) bool {
	tree, below := strings.CutSuffix(pattern, "/...")
	return path == tree || below && strings.HasPrefix(path, tree+"/")
}

// imported reports whether a package of that pattern is in the graph or is imported.
func (g graph) imported(pattern string) bool {
	for p, all := range g.all {
		if matches(pattern, p) || slices.ContainsFunc(all, func(path string) bool { return matches(pattern, path) }) {
			return true
		}
	}
	return false
}

func clone(m map[string][]string) map[string][]string {
	c := make(map[string][]string, len(m))
	for k, v := range m {
		c[k] = slices.Clone(v)
	}
	return c
}
