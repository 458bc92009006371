package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/metrics"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/contract"
	"github.com/portlease/portlease/shared/elb"
)

// filled has every metric with some value.
func filled() *metrics.Metrics {
	m := metrics.New()
	m.BudgetRequest("bind", "granted")
	m.Claim("exhausted", "default")
	m.Milestone("bound", "default", 3*time.Second)
	m.AWSCall(elb.Call{Action: "CreateListener", Code: "TooManyListeners", Took: 30 * time.Millisecond})
	m.LeaseWrite("claim", "conflict")
	m.Leader(func() bool { return true })
	m.Cached(map[string]func() int{"claim": func() int { return 12 }})
	m.JanitorAction("reclaim", "pod gone and claim expired")
	m.Request(httpapi.Answer{Method: "PUT", Route: "/v1/pods/:namespace/:pod/claim", Status: 503, Code: api.Exhausted, Took: 30 * time.Millisecond})
	m.Request(httpapi.Answer{Method: "FROBNICATE", Route: "/", Status: 405, Code: api.MethodNotAllowed})
	m.PoolFileRefused(true)
	m.OutdatedNamespaces(2)
	m.ConnectionClosed("address")
	m.Connections(func() int { return 7 })
	m.Certificate(func() time.Time { return time.Unix(1893456000, 0) })
	m.Ledger(leading())
	return m
}

const (
	lbA = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/a/1"
	lbB = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/b/2"
	lbC = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/c/3"
)

// leading is the ledger of a leader with two pools that share load balancer a, and one load
// balancer b that cannot be used.
func leading() metrics.Ledger {
	now := time.Unix(1800000000, 0)
	port := func(arn string, number int, state ledger.PortState, holder, health string) *ledger.Record[ledger.Port] {
		return &ledger.Record[ledger.Port]{Value: ledger.Port{LoadBalancerARN: arn, ListenerPort: number, State: state, Holder: holder, TargetHealth: health}}
	}
	foreign := func(r *ledger.Record[ledger.Port]) *ledger.Record[ledger.Port] {
		r.Value.Foreign = "arn"
		return r
	}
	claim := func(name string, age time.Duration, c ledger.Claim) *ledger.Record[ledger.Claim] {
		c.Pool, c.PodIP = "default", "10.0.0.1"
		return &ledger.Record[ledger.Claim]{Name: name, CreatedAt: now.Add(-age), Value: c}
	}
	of := func(name string, from, to int) pool.Pool {
		return pool.Pool{Name: name, LoadBalancers: []pool.LoadBalancer{{LoadBalancer: api.LoadBalancer{ARN: lbA}, Ranges: []pool.Range{{From: from, To: to}}}}}
	}
	limited := of("default", 1, 50)
	limited.Terms.Quota.PerNamespace = 10
	return metrics.Ledger{
		Leads: func() bool { return true },
		Ports: func() []*ledger.Record[ledger.Port] {
			return []*ledger.Record[ledger.Port]{
				port(lbA, 1, ledger.Bound, "bound", "healthy"), port(lbA, 2, ledger.Bound, "bound", ""), port(lbA, 3, ledger.Claimed, "binding", ""),
				port(lbA, 51, ledger.Free, "", ""), port(lbB, 1, ledger.Blocked, "", ""), foreign(port(lbA, 52, ledger.Blocked, "", "")), port(lbC, 1, ledger.Releasing, "", ""),
			}
		},
		Claims: func() []*ledger.Record[ledger.Claim] {
			admitted := ledger.Claim{State: ledger.Waiting, Admitted: true, ConfirmedIP: "10.0.0.1"}
			unconfirmed := ledger.Claim{State: ledger.Waiting, Admitted: true}
			return []*ledger.Record[ledger.Claim]{
				claim("bound", time.Hour, ledger.Claim{State: ledger.Granted}), claim("binding", 30*time.Second, ledger.Claim{State: ledger.Granted}),
				claim("exhausted", 90*time.Second, admitted), claim("exhausted-2", 80*time.Second, admitted), claim("same-address", time.Second, unconfirmed),
				claim("over-quota", 2*time.Second, ledger.Claim{State: ledger.Waiting}), claim("over", time.Hour, ledger.Claim{State: ledger.ClaimReleasing}),
			}
		},
		Pools:     func() []pool.Pool { return []pool.Pool{limited, of("other", 51, 60)} },
		Available: func(p pool.Pool) (total, available int) { return 50, 40 + len(p.Name) },
		LoadBalancers: func() []inventory.State {
			return []inventory.State{
				{Pool: "default", ARN: lbA, Listeners: 4, Limit: 50}, {Pool: "default", ARN: lbB, LeftOut: "it is gone", LeftOutReason: "gone", Cordoned: "by alice", Limit: 50},
				{Pool: "other", ARN: lbA, Listeners: 4, Limit: 50}, {ARN: lbC, Limit: 50},
			}
		},
		Budget: func() budget.State {
			return budget.State{Tokens: budget.Tokens{Mutating: 7, Registration: 8, Describe: 6, All: 9}, Cut: .25}
		},
		TargetGroups: func() (used, limit int) { return 2900, 3000 },
		Swept:        func() time.Time { return now }, Audited: func() time.Time { return now.Add(-time.Minute) },
		Now: func() time.Time { return now },
	}
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
		`portlease_ports{load_balancer="net/a/1",pool="default",state="bound"} 2`, `portlease_ports{load_balancer="net/a/1",pool="other",state="free"} 1`,
		`portlease_ports{load_balancer="net/b/2",pool="default",state="blocked"} 1`, `portlease_ports{load_balancer="net/c/3",pool="",state="releasing"} 1`,
		`portlease_targets{health="healthy"} 1`, `portlease_targets{health="unknown"} 1`,
		`portlease_claims{pool="default",state="waiting"} 4`, `portlease_claims{pool="default",state="granted"} 2`, `portlease_claims{pool="other",state="granted"} 0`,
		`portlease_claims_waiting{pool="default",reason="port"} 2`, `portlease_claims_waiting{pool="default",reason="address"} 1`,
		`portlease_claims_waiting{pool="default",reason="quota"} 1`, `portlease_claims_waiting{pool="default",reason="aws"} 1`, `portlease_claims_waiting{pool="other",reason="aws"} 0`,
		`portlease_claims_waiting_oldest_seconds{pool="default"} 90`, `portlease_claims_waiting_oldest_seconds{pool="other"} 0`,
		`portlease_pool_ports{pool="default"} 50`, `portlease_pool_ports_available{pool="default"} 47`, `portlease_pool_ports_available{pool="other"} 45`,
		`portlease_claims_total{pool="default",result="exhausted"} 1`,
		`portlease_pod_start_duration_seconds_bucket{milestone="bound",pool="default",le="5"} 1`, `portlease_pod_start_duration_seconds_bucket{milestone="bound",pool="default",le="2.5"} 0`,
		`portlease_load_balancers{pool="default"} 2`, `portlease_load_balancers{pool="other"} 1`, `portlease_load_balancers_left_out{pool="default",reason="gone"} 1`,
		`portlease_load_balancers_cordoned{pool="default"} 1`, `portlease_load_balancers_cordoned{pool="other"} 0`, `portlease_load_balancers_removed 1`,
		`portlease_load_balancer_listeners{load_balancer="net/a/1"} 4`, `portlease_load_balancer_listener_limit{load_balancer="net/a/1"} 50`,
		`portlease_aws_target_groups 2900`, `portlease_aws_target_group_limit 3000`, `portlease_foreign_listeners{pool="default"} 0`, `portlease_foreign_listeners{pool="other"} 1`,
		`portlease_aws_calls_total{action="CreateListener",code="TooManyListeners"} 1`, `portlease_aws_call_duration_seconds_bucket{action="CreateListener",le="0.05"} 1`,
		`portlease_lease_writes_total{kind="claim",result="conflict"} 1`, `portlease_leader 1`, `portlease_cached_leases{kind="claim"} 12`,
		`portlease_janitor_last_sweep_timestamp_seconds 1.8e+09`, `portlease_janitor_last_audit_timestamp_seconds 1.79999994e+09`,
		`portlease_http_connections 7`, `portlease_http_connections_closed_total{limit="address"} 1`,
		`portlease_pool_file_refused 1`, `portlease_trust_namespaces_outdated 2`, `portlease_certificate_expiry_timestamp_seconds 1.893456e+09`,
		`portlease_aws_budget_tokens{bucket="mutating"} 7`, `portlease_aws_budget_tokens{bucket="registration"} 8`, `portlease_aws_budget_tokens{bucket="describe"} 6`, `portlease_aws_budget_tokens{bucket="all"} 9`,
		`portlease_aws_budget_speed_ratio 0.75`, `portlease_aws_budget_requests_total{class="bind",outcome="granted"} 1`,
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
	if !regexp.MustCompile(`\nportlease_build_info\{goversion="go1[^"]+",version="[^"]+"\} 1\n`).MatchString(text) {
		t.Error("no version of the build")
	}
	for _, process := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+process+" ") {
			t.Errorf("no metric %s of the process", process)
		}
	}
}

// A sum over all replicas must count everything once.
func TestOnlyTheLeaderServesTheMetricsOfTheLedger(t *testing.T) {
	leads, m, l := false, metrics.New(), leading()
	m.Leader(func() bool { return leads })
	l.Leads = func() bool { return leads }
	m.Ledger(l)
	if text := scrape(t, m); strings.Contains(text, "portlease_ports{") || strings.Contains(text, "portlease_aws_budget_tokens{") || !strings.Contains(text, "\nportlease_leader 0\n") {
		t.Errorf("a standby replica serves\n%s", text)
	}
	leads = true
	if text := scrape(t, m); !strings.Contains(text, "portlease_ports{") || !strings.Contains(text, "\nportlease_leader 1\n") {
		t.Errorf("the leader serves\n%s", text)
	}
}

// promlint has the rules of "promtool check metrics".
func TestMetricsPassPromtool(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, filled()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
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
		listed := regexp.MustCompile("(?m)^\\| `" + name + "(?:\\{([a-z_,]+)\\})?` \\|").FindSubmatch(docs)
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
