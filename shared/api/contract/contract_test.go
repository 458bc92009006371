package contract_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api/contract"
)

const problem = `{"code":"CODE","title":"Service Unavailable","status":503,"detail":"wait"}`

// valid is an exchange without a violation. Each test case spoils it in one way.
func valid() contract.Exchange {
	return contract.Exchange{
		Method: "POST", URL: &url.URL{Path: "/v1/ports/lb/30000/block"}, Sent: []byte(`{"reason":"why"}`), Status: 200,
		Header: http.Header{"X-Request-Id": {"r-1"}, "Content-Type": {"application/json; charset=utf-8"}, "Date": {"today"}},
		Body:   []byte(`{"lease":"lb-30000","loadBalancerARN":"arn","listenerPort":30000,"state":"blocked","generation":0,"changedAt":"2026-01-02T03:04:05Z"}`),
	}
}

func TestCheckFindsViolations(t *testing.T) {
	c, err := contract.New()
	if err != nil {
		t.Fatal(err)
	}
	refusal := func(status int, body string, header ...string) func(*contract.Exchange) {
		return func(x *contract.Exchange) {
			x.Status, x.Body = status, []byte(body)
			x.Header.Set("Content-Type", "application/problem+json")
			for i := 0; i < len(header); i += 2 {
				x.Header.Set(header[i], header[i+1])
			}
		}
	}
	pending := strings.Replace(problem, "CODE", "pending", 1)
	for _, test := range []struct {
		name  string
		spoil func(*contract.Exchange)
		want  string // empty: nothing is wrong
	}{
		{"valid", func(*contract.Exchange) {}, ""},
		{"another status", func(x *contract.Exchange) { x.Status = 201 }, "no such status"},
		{"another field", func(x *contract.Exchange) {
			x.Body = []byte(strings.Replace(string(x.Body), `"lease"`, `"extra":1,"lease"`, 1))
		}, "extra"},
		{"a missing field", func(x *contract.Exchange) { x.Body = []byte(strings.Replace(string(x.Body), `"generation":0,`, ``, 1)) }, "generation"},
		{"another type", func(x *contract.Exchange) {
			x.Body = []byte(strings.Replace(string(x.Body), `:30000,`, `:"30000",`, 1))
		}, "listenerPort"},
		{"an unknown state", func(x *contract.Exchange) { x.Body = []byte(strings.Replace(string(x.Body), `blocked`, `closed`, 1)) }, "state"},
		{"a time of another form", func(x *contract.Exchange) { x.Body = []byte(strings.Replace(string(x.Body), `2026-`, ``, 1)) }, "changedAt"},
		{"no JSON", func(x *contract.Exchange) { x.Body = []byte(`{`) }, "EOF"},
		{"two JSON values", func(x *contract.Exchange) { x.Body = append(x.Body, x.Body...) }, "invalid character"},
		{"no request id", func(x *contract.Exchange) { x.Header.Del("X-Request-Id") }, "X-Request-Id"},
		{"two request ids", func(x *contract.Exchange) { x.Header.Add("X-Request-Id", "r-2") }, "X-Request-Id"},
		{"an invalid request id", func(x *contract.Exchange) { x.Header.Set("X-Request-Id", "a b") }, "X-Request-Id"},
		{"an unknown header", func(x *contract.Exchange) { x.Header.Set("X-Powered-By", "echo") }, "X-Powered-By"},
		{"a Retry-After with success", func(x *contract.Exchange) { x.Header.Set("Retry-After", "1") }, "Retry-After"},
		{"another media type", func(x *contract.Exchange) { x.Header.Set("Content-Type", "text/html") }, "text/html"},
		{"no media type", func(x *contract.Exchange) { x.Header.Del("Content-Type") }, "media type"},
		{"a refusal", refusal(503, pending, "Retry-After", "1"), ""},
		{"a refusal without a time", refusal(503, pending), "Retry-After"},
		{"a refusal with a date", refusal(503, pending, "Retry-After", "tomorrow"), "Retry-After"},
		{"a refusal with no time at all", refusal(503, pending, "Retry-After", "0"), "Retry-After"},
		{"a code of another call", refusal(503, strings.Replace(problem, "CODE", "exhausted", 1), "Retry-After", "1"), "code"},
		{"a code of another status", refusal(503, strings.Replace(problem, "CODE", "lost", 1), "Retry-After", "1"), "code"},
		{"a status of another code", refusal(503, strings.Replace(pending, "503", "500", 1), "Retry-After", "1"), "status"},
		{"a bare error", func(x *contract.Exchange) { x.Status, x.Body = 500, []byte(`{"message":"Internal Server Error"}`) }, "media type"},
		{"an undocumented request body that was accepted", func(x *contract.Exchange) { x.Sent = []byte(`{"why":"x"}`) }, "was accepted"},
		{"a request that is not checked", func(x *contract.Exchange) { x.Sent = nil }, ""},
		{"an undocumented path", func(x *contract.Exchange) { x.URL.Path = "/v1/secret" }, "no such status"},
		{"an undocumented method", func(x *contract.Exchange) { x.Method = "PATCH" }, "no such status"},
		{"an undocumented body", func(x *contract.Exchange) {
			x.Method, x.URL.Path, x.Status = "DELETE", "/v1/pods/games/game-0/claim", 204
		}, "no body is documented"},
		{"an escaped slash", func(x *contract.Exchange) {
			x.URL.Path, x.URL.RawPath = "/v1/ports/l/b/30000/block", "/v1/ports/l%2Fb/30000/block"
		}, ""},
	} {
		x := valid()
		test.spoil(&x)
		err := c.Check(x)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}
