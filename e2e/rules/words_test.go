package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// banned words do not say what a thing is. Choose a name that does.
var banned = []string{"manager", "helper", "util", "common", "base", "impl", "data", "info"}

// foreign are declared names with a banned word that somebody else chose, and who.
var foreign = map[string]string{
	"DataPlane":   "AWS calls the half that forwards packets the data plane",
	"lowerBase32": "RFC 4648 calls the encoding base32",
}

// declarations calls found with every name that a file declares: its package,
// types, functions, fields, parameters, variables, constants, labels and the
// names it gives to imports.
func declarations(file *ast.File, found func(*ast.Ident)) {
	names := func(exprs ...ast.Expr) {
		for _, e := range exprs {
			if id, ok := e.(*ast.Ident); ok {
				found(id)
			}
		}
	}
	found(file.Name)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			found(n.Name)
		case *ast.TypeSpec:
			found(n.Name)
		case *ast.ImportSpec:
			if n.Name != nil {
				found(n.Name)
			}
		case *ast.LabeledStmt:
			found(n.Label)
		case *ast.ValueSpec:
			for _, id := range n.Names {
				found(id)
			}
		case *ast.Field:
			for _, id := range n.Names {
				found(id)
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				names(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				names(n.Key, n.Value)
			}
		}
		return true
	})
}

// words are the parts of a name in camel case: "newHTTPInfo2" is new, http, info
// and 2.
func words(name string) []string {
	var parts []string
	runes := []rune(name)
	start := 0
	cut := func(at int) {
		if at > start {
			parts = append(parts, strings.ToLower(string(runes[start:at])))
		}
		start = at
	}
	for i, r := range runes {
		switch {
		case r == '_':
			cut(i)
			start = i + 1
		case i == 0:
		case unicode.IsDigit(r) != unicode.IsDigit(runes[i-1]),
			unicode.IsUpper(r) && !unicode.IsUpper(runes[i-1]),
			unicode.IsUpper(r) && i+1 < len(runes) && unicode.IsLower(runes[i+1]):
			cut(i)
		}
	}
	cut(len(runes))
	return parts
}

// bannedIn returns the banned word in a name; empty if there is none.
func bannedIn(name string) string {
	for _, word := range words(name) {
		if slices.Contains(banned, word) || slices.Contains(banned, strings.TrimSuffix(word, "s")) {
			return word
		}
	}
	return ""
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"portManager": "manager", "Helper": "helper", "netutil": "", "netUtils": "utils", "HTTPInfo": "info", "infoHTTP": "info", "Info2": "info",
		"common_name": "common", "database": "", "Basement": "", "baseURL": "base", "impl": "impl", "dataplane": "", "DATA": "data", "caData": "data",
		"TLSBase": "base", "information": "", "manage": "",
	} {
		if got := bannedIn(name); got != want {
			t.Errorf("%s (%v): got %q, want %q", name, words(name), got, want)
		}
	}
}

func TestNamesHaveNoEmptyWords(t *testing.T) {
	used := make(map[string]bool)
	files, names := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if word := bannedIn(name); word != "" && path != root {
				t.Errorf("folder %s is named %q", path, word)
			}
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		if word := bannedIn(strings.TrimSuffix(name, ".go")); word != "" {
			t.Errorf("file %s is named %q", path, word)
		}
		declarations(file, func(id *ast.Ident) {
			names++
			if word := bannedIn(id.Name); word != "" && foreign[id.Name] == "" {
				t.Errorf("%s: %s says %q", positions.Position(id.Pos()), id.Name, word)
			}
			used[id.Name] = true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range foreign {
		if !used[name] {
			t.Errorf("nothing is called %s any more", name)
		}
	}
	if files < 50 || names < 1000 {
		t.Errorf("looked at %d names in %d files only", names, files)
	}
}

// TestEveryKindOfDeclarationIsChecked has a banned name in each kind of declaration.
func TestEveryKindOfDeclarationIsChecked(t *testing.T) {
	const source = `package util
import data "fmt"
const aBase = 1
var aData = 1
type anInfo[manager any] struct { commonField int }
type doer interface { impl(helper int) (info error) }
func (base anInfo[T]) utils() {
	data1, ok := 1, true
dataLoop:
	for info2, common := range []int{} { _ = func(impl2 int) {} }
	var data3 int
	if base2 := 1; ok {}
	switch info4 := any(1).(type) {}
}`
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	declarations(file, func(id *ast.Ident) {
		if bannedIn(id.Name) != "" {
			found = append(found, id.Name)
		}
	})
	slices.Sort(found)
	want := strings.Fields("aBase aData anInfo base base2 common commonField data data1 data3 dataLoop helper impl impl2 info info2 info4 manager util utils")
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}
