package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// poolFileKeys are the keys that package poolfile reads: the JSON names of its fields.
func poolFileKeys(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "allocator/poolfile/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			key, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			keys = append(keys, key)
			return true
		})
	}
	return keys
}

// TestPoolFileKeysAreOnThePageAndInTheSchema: a key that only the allocator knows is
// refused by Helm, and one that is on no page is used by nobody.
func TestPoolFileKeysAreOnThePageAndInTheSchema(t *testing.T) {
	keys := poolFileKeys(t)
	if len(keys) < 20 {
		t.Fatalf("found %d keys in allocator/poolfile: %v", len(keys), keys)
	}
	for _, name := range []string{"docs/pool-file.md", "deploy/chart/values.schema.json"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(key) + `"?:`).Match(text) {
				t.Errorf("%s does not have the key %q of the pool file", name, key)
			}
		}
	}
}
