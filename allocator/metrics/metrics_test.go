package metrics_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/metrics"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/contract"
)

// filled has every metric with some value.
func filled() *metrics.Metrics {
	m := metrics.New()
	m.BudgetRequest("bind", "granted")
	m.ClaimRefused("exhausted", "default")
	m.JanitorAction("reclaim", "pod gone and claim expired")
	m.Request(httpapi.Answer{Method: "PUT", Route: "/v1/pods/:namespace/:pod/claim", Status: 503, Code: api.Exhausted, Took: 30 * time.Millisecond})
	m.Request(httpapi.Answer{Method: "FROBNICATE", Route: "/", Status: 405, Code: api.MethodNotAllowed})
	m.PoolFileRefused(true)
	m.OutdatedNamespaces(2)
	m.ConnectionClosed("address")
	m.Connections(func() int { return 7 })
	m.Certificate(func() time.Time { return time.Unix(1893456000, 0) })
	m.Ledger(metrics.Ledger{
		Ports: func() []*ledger.Record[ledger.Port] {
			return []*ledger.Record[ledger.Port]{{Value: ledger.Port{State: ledger.Bound}}, {Value: ledger.Port{State: ledger.Bound}}, {Value: ledger.Port{State: ledger.Free}}}
		},
		Claims: func() []*ledger.Record[ledger.Claim] {
			return []*ledger.Record[ledger.Claim]{{Value: ledger.Claim{State: ledger.Waiting}}}
		},
		Pools: func(context.Context) (api.PoolList, error) {
			return api.PoolList{Pools: []api.PoolView{{Name: "default", Waiting: 4, Ports: map[string]int{"total": 50, "available": 47}}}}, nil
		},
		LoadBalancers: func() []api.LoadBalancerView {
			return []api.LoadBalancerView{{LeftOut: "not active"}, {LeftOut: "gone", Cordoned: "by alice"}, {Removed: true}}
		},
		Budget: func() budget.State {
			return budget.State{Tokens: budget.Tokens{Mutating: 7, Registration: 8, Describe: 6, All: 9}, Cut: .25}
		},
	})
	return m
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	w.Header().Set(api.HeaderRequestID, "id") // as httpapi does
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	m.Handler().ServeHTTP(w, r)
	document, err := contract.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Check(contract.Exchange{Method: r.Method, URL: r.URL, Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}); err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d %v: %v", w.Code, w.Header(), err)
	}
	return w.Body.String()
}

func TestEveryMetricIsServed(t *testing.T) {
	text := scrape(t, filled())
	for _, line := range []string{
		`portlease_ports{state="bound"} 2`, `portlease_ports{state="free"} 1`, `portlease_ports{state="blocked"} 0`,
		`portlease_claims{state="waiting"} 1`, `portlease_claims{state="granted"} 0`,
		`portlease_pool_ports{pool="default"} 50`, `portlease_pool_ports_available{pool="default"} 47`, `portlease_pool_claims_waiting{pool="default"} 4`,
		`portlease_claims_refused_total{pool="default",reason="exhausted"} 1`,
		`portlease_load_balancers 3`, `portlease_load_balancers_left_out 2`, `portlease_load_balancers_cordoned 1`, `portlease_load_balancers_removed 1`,
		`portlease_http_connections 7`, `portlease_http_connections_closed_total{limit="address"} 1`,
		`portlease_pool_file_refused 1`, `portlease_trust_namespaces_outdated 2`, `portlease_certificate_expiry_timestamp_seconds 1.893456e+09`,
		`portlease_aws_budget_tokens{bucket="mutating"} 7`, `portlease_aws_budget_tokens{bucket="registration"} 8`, `portlease_aws_budget_tokens{bucket="describe"} 6`, `portlease_aws_budget_tokens{bucket="all"} 9`,
		`portlease_aws_budget_speed 0.75`, `portlease_aws_budget_requests_total{class="bind",outcome="granted"} 1`,
		`portlease_janitor_actions_total{action="reclaim",reason="pod gone and claim expired"} 1`,
		`portlease_http_requests_total{code="exhausted",method="PUT",route="/v1/pods/:namespace/:pod/claim",status="503"} 1`,
		`portlease_http_requests_total{code="method_not_allowed",method="other",route="/",status="405"} 1`,
		`portlease_http_request_duration_seconds_bucket{method="PUT",route="/v1/pods/:namespace/:pod/claim",le="0.05"} 1`,
		`portlease_http_request_duration_seconds_count{method="PUT",route="/v1/pods/:namespace/:pod/claim"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	for _, process := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+process+" ") {
			t.Errorf("no metric %s of the process", process)
		}
	}
}

// TestMetricsAreNamedByConventionAndDocumented checks that counters and only they end
// in _total, and that docs/operations.md lists each metric with its labels.
func TestMetricsAreNamedByConventionAndDocumented(t *testing.T) {
	text := scrape(t, filled())
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^# TYPE (portlease_\w+) (\w+)$`).FindAllStringSubmatch(text, -1)
	if len(found) < 19 {
		t.Fatalf("found only %q", found)
	}
	for _, metric := range found {
		name, kind := metric[1], metric[2]
		if strings.HasSuffix(name, "_total") != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
		if !strings.Contains(text, "# HELP "+name+" ") {
			t.Errorf("%s has no help", name)
		}
		sample := regexp.MustCompile(`(?m)^` + name + `(?:_count)?(?:\{(.*)\})? `).FindStringSubmatch(text)
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(sample[1], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		listed := regexp.MustCompile("(?m)^\\| `" + name + "(?:\\{([a-z,]+)\\})?` \\|").FindSubmatch(docs)
		if listed == nil {
			t.Errorf("docs/operations.md does not list %s", name)
			continue
		}
		documented := strings.FieldsFunc(string(listed[1]), func(r rune) bool { return r == ',' })
		slices.Sort(documented)
		if !slices.Equal(labels, documented) {
			t.Errorf("%s has labels %q, docs/operations.md lists %q", name, labels, documented)
		}
	}
	for _, listed := range regexp.MustCompile("(?m)^\\| `(portlease_\\w+)").FindAllStringSubmatch(string(docs), -1) {
		if name := listed[1]; !strings.HasPrefix(name, "portlease_agent_") && !strings.Contains(text, "# TYPE "+name+" ") {
			t.Errorf("docs/operations.md lists %s, which does not exist", name)
		}
	}
}
