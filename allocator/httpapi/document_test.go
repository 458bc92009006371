package httpapi_test

import (
	"net/http"
	"regexp"
	"slices"
	"testing"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api/openapi"
)

// TestTheDocumentHasEveryRouteAndNoOther: what is served and what is documented
// is the same.
func TestTheDocumentHasEveryRouteAndNoOther(t *testing.T) {
	routes := httpapi.Routes(newWorld().config)
	parameter := regexp.MustCompile(`:(\w+)`)
	for i := range routes {
		routes[i] = parameter.ReplaceAllString(routes[i], "{$1}")
	}
	slices.Sort(routes)
	documented := document().Operations()
	slices.Sort(documented)
	if !slices.Equal(routes, documented) {
		t.Errorf("served are\n%q\ndocumented are\n%q", routes, documented)
	}
}

func TestTheDocumentIsServedToAnybody(t *testing.T) {
	out := newWorld().ask(t, "GET", "/openapi.json", "", http.NoBody)
	if out.Code != http.StatusOK || out.Header().Get("Content-Type") != "application/json" || out.Body.String() != string(openapi.Document) {
		t.Errorf("got %d %v", out.Code, out.Header())
	}
}
