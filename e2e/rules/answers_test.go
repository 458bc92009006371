package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// errorsIn returns the errors that an expression puts into a text, by their names: a
// variable whose name contains err, or the method Error.
func errorsIn(e ast.Expr) (found []string) {
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && strings.Contains(strings.ToLower(id.Name), "err") {
			found = append(found, id.Name)
		}
		return true
	})
	return found
}

// leaks returns the errors whose text a call of api.Errorf would send to the caller.
// The text of an error may name internals; it belongs into WithCause. Only a refusal of
// what the caller itself sent, with code api.Invalid, has the text of its error.
func leaks(call *ast.CallExpr) (found []string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Errorf" || len(call.Args) < 2 {
		return nil
	}
	if of, ok := selector.X.(*ast.Ident); !ok || of.Name != "api" {
		return nil
	}
	if code, ok := call.Args[0].(*ast.SelectorExpr); ok && code.Sel.Name == "Invalid" {
		return nil
	}
	for _, arg := range call.Args[2:] {
		found = append(found, errorsIn(arg)...)
	}
	return found
}

// TestAnswersHaveNoTextOfErrors: callers never see what AWS or the API server answered.
func TestAnswersHaveNoTextOfErrors(t *testing.T) {
	calls := 0
	err := filepath.WalkDir(filepath.Join(root, "allocator"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "Errorf" {
				calls++
			}
			for _, name := range leaks(call) {
				t.Errorf("%s: the answer has the text of %s: use WithCause, so that only the log has it", files.Position(call.Pos()), name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 50 {
		t.Errorf("found only %d calls of Errorf", calls)
	}
}

func TestLeaksAreFound(t *testing.T) {
	for text, want := range map[string]bool{
		`api.Errorf(api.Unavailable, "AWS failed: %v", err)`:             true,
		`api.Errorf(api.Unavailable, "AWS failed: %s", failErr.Error())`: true,
		`api.Errorf(api.Unavailable, "AWS failed").WithCause(err)`:       false,
		`api.Errorf(api.Invalid, "%v", err)`:                             false,
		`fmt.Errorf("listing: %w", err)`:                                 false,
	} {
		e, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		ast.Inspect(e, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && len(leaks(call)) > 0 {
				found = true
			}
			return true
		})
		if found != want {
			t.Errorf("%s: found %t", text, found)
		}
	}
}
