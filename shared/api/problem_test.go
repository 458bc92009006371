package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// codes returns the codes that problem.go declares, so that the tests cover a new code.
func codes(t *testing.T) map[string]api.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]api.Code)
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		kind, named := v.Type.(*ast.Ident)
		text, literal := v.Values[0].(*ast.BasicLit)
		if !named || kind.Name != "Code" || !literal {
			return true
		}
		word, err := strconv.Unquote(text.Value)
		if err != nil {
			t.Fatal(err)
		}
		found[v.Names[0].Name] = api.Code(word)
		return true
	})
	if len(found) < 10 {
		t.Fatalf("found only the codes %v", found)
	}
	return found
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	want := map[api.Code]int{
		api.Malformed: 400, api.Unauthenticated: 401, api.Forbidden: 403, api.Quota: 403, api.NotFound: 404, api.MethodNotAllowed: 405,
		api.Lost: 410, api.TooLarge: 413, api.Invalid: 422, api.RateLimited: 429, api.Internal: 500,
		api.Unavailable: 503, api.Exhausted: 503, api.Releasing: 503, api.Pending: 503,
	}
	declared := codes(t)
	if len(declared) != len(want) {
		t.Errorf("%d codes are declared, %d are expected", len(declared), len(want))
	}
	seen := make(map[api.Code]string)
	for name, code := range declared {
		if other, twice := seen[code]; twice {
			t.Errorf("%s and %s are both %q", name, other, code)
		}
		seen[code] = name
		if got := code.Status(); got != want[code] {
			t.Errorf("%s has status %d, want %d", name, got, want[code])
		}
		if http.StatusText(code.Status()) == "" {
			t.Errorf("status %d of %s has no title", code.Status(), name)
		}
	}
	if got := api.Code("of a later version").Status(); got != http.StatusInternalServerError {
		t.Errorf("an unknown code has status %d", got)
	}
}

func TestStatusWithoutAProblemIsNeverADecision(t *testing.T) {
	for _, test := range []struct {
		status int
		want   api.Code
	}{
		{400, api.Malformed}, {401, api.Unauthenticated}, {403, api.Forbidden}, {404, api.NotFound},
		{405, api.MethodNotAllowed}, {413, api.TooLarge}, {422, api.Invalid}, {500, api.Internal},
		{503, api.Unavailable}, {502, api.Unavailable}, {504, api.Unavailable}, {599, api.Unavailable},
		{410, api.Malformed}, {418, api.Malformed}, {429, api.RateLimited}, {408, api.Unavailable},
		{100, api.Unavailable}, {200, api.Unavailable}, {301, api.Unavailable}, {307, api.Unavailable}, {399, api.Unavailable},
	} {
		if got := api.CodeOf(test.status); got != test.want {
			t.Errorf("%d reads as %s, want %s", test.status, got, test.want)
		}
	}
	for status := range 1000 {
		switch code := api.CodeOf(status); code {
		case api.Lost, api.Quota, api.Exhausted, api.Releasing, api.Pending:
			t.Errorf("%d reads as %s, which only the allocator itself can report", status, code)
		default:
		}
	}
}

func TestWrappedProblemsMatchByCode(t *testing.T) {
	sentinels := map[api.Code]error{
		api.Lost: api.ErrLost, api.Exhausted: api.ErrExhausted, api.Releasing: api.ErrReleasing,
		api.Invalid: api.ErrInvalid, api.Forbidden: api.ErrForbidden, api.Quota: api.ErrQuota, api.NotFound: api.ErrNotFound,
	}
	for name, code := range codes(t) {
		p := api.Errorf(code, "generation %d is over", 3).WithRetryAfter(time.Second)
		wrapped := errors.Join(errors.New("another error"), fmt.Errorf("renewing: %w", fmt.Errorf("calling: %w", p)))
		for of, sentinel := range sentinels {
			if got := errors.Is(wrapped, sentinel); got != (of == code) {
				t.Errorf("%s is %v: %v", name, sentinel, got)
			}
		}
		var found *api.Problem
		if !errors.As(wrapped, &found) || found != p {
			t.Errorf("%s is not in %v", name, wrapped)
		}
	}
	if api.ErrLost.Is(errors.New("lost: ")) {
		t.Error("a problem is an error of another type")
	}
}

func TestProblemAsJSON(t *testing.T) {
	p := api.Errorf(api.Exhausted, "pool %s has no free port", "udp")
	later := p.WithRetryAfter(5 * time.Second)
	if p.RetryAfter != 0 || later.RetryAfter != 5*time.Second {
		t.Errorf("WithRetryAfter changes its receiver: %v, %v", p.RetryAfter, later.RetryAfter)
	}
	got, err := json.Marshal(later)
	const want = `{"code":"exhausted","title":"Service Unavailable","status":503,"detail":"pool udp has no free port"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if later.Error() != "exhausted: pool udp has no free port" {
		t.Errorf("error reads %q", later.Error())
	}
}

func TestCauseIsInTheErrorButNotOnTheWire(t *testing.T) {
	cause := errors.New("etcdserver: leader changed")
	p := api.Errorf(api.Unavailable, "retry")
	caused := p.WithCause(cause)
	if p.Cause != nil || !errors.Is(caused, cause) || caused.Error() != "unavailable: retry: etcdserver: leader changed" {
		t.Errorf("got %v of %v", caused, p)
	}
	got, err := json.Marshal(caused)
	const want = `{"code":"unavailable","title":"Service Unavailable","status":503,"detail":"retry"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestClaimPath(t *testing.T) {
	if got := api.ClaimPath("games", "game-0"); got != "/v1/pods/games/game-0/claim" {
		t.Errorf("got %s", got)
	}
}
