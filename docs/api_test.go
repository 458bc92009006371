package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/openapi"
)

// openAPI is what these tests read of the OpenAPI document.
type openAPI struct {
	Paths      map[string]map[string]any
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct{ Enum []string }
		}
	}
}

func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	var d openAPI
	if err := json.Unmarshal(openapi.Document, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAPIPageListsEveryCall compares the page's tables with the OpenAPI document.
func TestAPIPageListsEveryCall(t *testing.T) {
	text := read(t, "docs/api.md")
	calls := map[string]bool{}
	for path, methods := range readOpenAPI(t).Paths {
		for method := range methods {
			if method != "parameters" {
				calls[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	if len(calls) < 20 {
		t.Fatalf("the OpenAPI document has only %v", calls)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\|").FindAllStringSubmatch(text, -1) {
		listed[m[1]] = true
	}
	agreeSets(t, "docs/api.md", listed, calls)
}

// TestAPIPageListsEveryCode with its status.
func TestAPIPageListsEveryCode(t *testing.T) {
	text := read(t, "docs/api.md")
	codes, listed := map[string]bool{}, map[string]bool{}
	for _, code := range readOpenAPI(t).Components.Schemas["Problem"].Properties["code"].Enum {
		codes[fmt.Sprintf("%s %d", code, api.Code(code).Status())] = true
	}
	if len(codes) < 10 {
		t.Fatalf("the OpenAPI document has only the codes %v", codes)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\|").FindAllStringSubmatch(text, -1) {
		listed[m[1]+" "+m[2]] = true
	}
	agreeSets(t, "docs/api.md", listed, codes)
}

// agreeSets reports what a page lists in excess, and what it lacks.
func agreeSets(t *testing.T, page string, listed, want map[string]bool) {
	t.Helper()
	for name := range listed {
		if !want[name] {
			t.Errorf("%s lists %q, which does not exist", page, name)
		}
	}
	for name := range want {
		if !listed[name] {
			t.Errorf("%s does not list %q", page, name)
		}
	}
}
