package httpapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

// between is what stands between two marks, of which there is one pair.
func between(t *testing.T, text, open, end string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, open)
	inner, after, closed := strings.Cut(rest, end)
	if !ok || !closed || strings.Contains(after, open) {
		t.Fatalf("there is not one %s…%s", open, end)
	}
	return inner
}

// TestContentSecurityPolicyAllowsExactlyThePage compares the policy with the page as
// it is sent.
func TestContentSecurityPolicyAllowsExactlyThePage(t *testing.T) {
	w := newWorld()
	out := w.ask(t, "GET", "/", "", http.NoBody)
	if out.Code != http.StatusOK || !strings.HasPrefix(out.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("got %d %v", out.Code, out.Header())
	}
	policy := make(map[string]string)
	for directive := range strings.SplitSeq(out.Header().Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		policy[name] = value
	}
	hash := func(open, end string) string {
		sum := sha256.Sum256([]byte(between(t, out.Body.String(), open, end)))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	for name, want := range map[string]string{
		"default-src": "'none'", "script-src": hash("<script>", "</script>"), "style-src": hash("<style>", "</style>"),
		"connect-src": "'self'", "form-action": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'",
	} {
		if policy[name] != want {
			t.Errorf("%s is %q, want %q", name, policy[name], want)
		}
	}
	for what, pattern := range map[string]string{
		"an event handler": `(?i)<[^>]*\son\w+\s*=`, "a style attribute": `(?i)<[^>]*\sstyle\s*=`,
		"something from elsewhere": `(?i)\b(src|href)\s*=|https?://|@import|url\(`, "text taken for HTML": `innerHTML|outerHTML|insertAdjacent|document\.write`,
		"a token that outlives the page": `localStorage|sessionStorage|cookie|indexedDB`, "text taken for a program": `\beval\b|new Function`,
	} {
		if found := regexp.MustCompile(pattern).FindString(out.Body.String()); found != "" {
			t.Errorf("the page has %s: %q", what, found)
		}
	}
	if len(out.Body.String()) > 16<<10 {
		t.Errorf("the page has %d bytes", len(out.Body.String()))
	}
}

// TestThePageShowsNothingByItself: it is the same for everybody and at any time.
func TestThePageShowsNothingByItself(t *testing.T) {
	w := newWorld()
	first := w.ask(t, "GET", "/", "", http.NoBody).Body.String()
	if again := w.ask(t, "GET", "/", "admin", http.NoBody).Body.String(); again != first {
		t.Error("the page depends on who asks")
	}
	if len(w.reviews) > 0 || w.got != nil || strings.Contains(first, poolView.Name) || strings.Contains(first, loadBalancerView.Host) {
		t.Error("the page was made from what needs a right")
	}
	// Everything that the script looks for by id is in the page.
	for _, id := range regexp.MustCompile(`(?:find|table)\('([a-z-]+)'`).FindAllStringSubmatch(first, -1) {
		if !strings.Contains(first, `id="`+id[1]+`"`) {
			t.Errorf("the script looks for %q, which is not in the page", id[1])
		}
	}
	for _, label := range []string{`<html lang="en">`, `<label for="token">`, `role="status"`, `<caption>`, `aria-labelledby="pools-title"`} {
		if !strings.Contains(first, label) {
			t.Errorf("the page has no %s for those who cannot see it", label)
		}
	}
}

// TestPageReadsOnlyFieldsOfTheAPI checks every field that the script reads of a pool or
// port (p) and of a load balancer (lb).
func TestPageReadsOnlyFieldsOfTheAPI(t *testing.T) {
	script, err := os.ReadFile("page.js")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for of, types := range map[string][]reflect.Type{
		"p":  {reflect.TypeFor[api.PoolView](), reflect.TypeFor[api.PortView]()},
		"lb": {reflect.TypeFor[api.LoadBalancerView]()},
	} {
		for _, view := range types {
			for field := range view.Fields() {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				known[of+"."+name] = true
			}
		}
	}
	read := regexp.MustCompile(`\b(p|lb)\.\w+`).FindAllString(string(script), -1)
	if len(read) < 20 {
		t.Fatalf("found only %q", read)
	}
	for _, field := range read {
		if !known[field] {
			t.Errorf("the script reads %s, which the API does not have", field)
		}
	}
}
