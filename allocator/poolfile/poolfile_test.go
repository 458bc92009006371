package poolfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
)

func arn(id int) string {
	return fmt.Sprintf("arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/games/%016x", id)
}

const goodPools = `
pools:
- name: udp
  loadBalancers: [ARN1, ARN2]
  listenerPorts: [30000-30049, "31000"]
- name: tcp
  loadBalancers: [ARN1]
  loadBalancerTags: {pool: tcp}
  vpc: vpc-1
  listenerPorts: [40000-40009]
  excludedPorts: ["40002", 40005-40007]
  protocols: [TCP]
  placement: pack
  cooldown: 0s
  sticky: 1h
  namespaces: [games]
  quota: {perPod: 0, perNamespace: 40}
  healthCheck: {interval: 5s, healthyThreshold: 3, unhealthyThreshold: 10}
  targetGroupAttributes: {deregistration_delay.timeout_seconds: "30"}
`

// pools puts ARNs into a pool file.
func pools(text string) []byte {
	return []byte(strings.NewReplacer("ARN1", arn(1), "ARN2", arn(2)).Replace(text))
}

func TestParsePoolsAndDefaults(t *testing.T) {
	got, err := poolfile.Parse(pools(goodPools))
	plain := pool.Terms{
		Protocols: []api.Protocol{api.TCP, api.UDP, api.TCPUDP}, Placement: pool.Spread, Cooldown: 2 * time.Minute, Sticky: 10 * time.Minute,
		HealthCheck: api.HealthCheck{IntervalSeconds: 10, TimeoutSeconds: 5, HealthyThreshold: 2, UnhealthyThreshold: 2},
		Quota:       pool.Quota{PerPod: 8},
	}
	want := []poolfile.Pool{
		{Name: "udp", LoadBalancers: []string{arn(1), arn(2)}, Ranges: []pool.Range{{From: 30000, To: 30049}, {From: 31000, To: 31000}}, Terms: plain},
		{
			Name: "tcp", LoadBalancers: []string{arn(1)}, Tags: map[string]string{"pool": "tcp"}, VPC: "vpc-1",
			Ranges: []pool.Range{{From: 40000, To: 40001}, {From: 40003, To: 40004}, {From: 40008, To: 40009}},
			Terms: pool.Terms{
				Namespaces: []string{"games"}, Protocols: []api.Protocol{api.TCP}, Placement: pool.Pack, Cooldown: 0, Sticky: time.Hour,
				Quota:       pool.Quota{PerNamespace: 40},
				HealthCheck: api.HealthCheck{IntervalSeconds: 5, TimeoutSeconds: 2, HealthyThreshold: 3, UnhealthyThreshold: 10},
				Attributes:  map[string]string{"deregistration_delay.timeout_seconds": "30"},
			},
		},
	}
	if diff := cmp.Diff(want, got.Pools); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if got.Limits != budget.Default() {
		t.Errorf("without a budget the limits are %+v", got.Limits)
	}
}

func TestParseBudgetLimits(t *testing.T) {
	got, err := poolfile.Parse(pools(goodPools + "budget:\n  share: 0.5\n  mutating: {burst: 100, perSecond: 30}\n  describe: {burst: 200, perSecond: 50}\n"))
	want := budget.Limits{
		Mutating:     budget.Bucket{Burst: 50, PerSecond: 15},
		Registration: budget.Bucket{Burst: 10, PerSecond: 2},
		Describe:     budget.Bucket{Burst: 100, PerSecond: 25},
		All:          budget.Bucket{Burst: 20, PerSecond: 5},
	}
	if err != nil || got.Limits != want {
		t.Errorf("got %+v, %v; want %+v", got.Limits, err, want)
	}
	for text, want := range map[string]string{
		"{share: 0}":              "share 0 is outside 0-1",
		"{share: 1.1}":            "share 1.1 is outside 0-1",
		"{share: 0.1}":            "less than binding one port needs",
		"{all: {burst: 40}}":      "all: set burst and perSecond",
		"{mutating: {burst: -1}}": "mutating: set burst and perSecond",
		"{describe: {burst: 40}}": "describe: set burst and perSecond",
		"{everything: 1}":         `unknown field "everything"`,
	} {
		if got, err := poolfile.Parse(pools(goodPools + "budget: " + text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
}

func TestParseErrorNamesPoolAndRemedy(t *testing.T) {
	one := func(name, loadBalancers, ports string) string {
		return fmt.Sprintf("- {name: %q, loadBalancers: [%s], listenerPorts: [%s]}\n", name, loadBalancers, ports)
	}
	with := func(field string) string {
		return "pools:\n- name: a\n  loadBalancers: [ARN1]\n  listenerPorts: [1-9]\n  " + field + "\n"
	}
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"empty", ``, []string{"name at least one"}},
		{"no pools", `pools: []`, []string{"name at least one"}},
		{"no YAML", "pools: [", []string{"reading YAML"}},
		{"unknown field at the top", "pool: []", []string{`unknown field "pool"`}},
		{"unknown field", "pools:\n- {name: a, loadbalancer: [ARN1]}", []string{`unknown field "loadbalancer"`}},
		{"field twice", "pools:\n- {name: a, name: b}", []string{`"name" already set`}},
		{"wrong type", "pools:\n- {name: a, loadBalancers: ARN1}", []string{"loadBalancers"}},
		{"no name", "pools:\n" + one("a", "ARN1", "1") + one("", "ARN2", "1"), []string{"pool number 2", "give it"}},
		{"one name twice", "pools:\n" + one("a", "ARN1", "1") + one("a", "ARN2", "1"), []string{`pool "a"`, "rename one"}},
		{"no load balancer", "pools:\n" + one("a", "", "1"), []string{`pool "a"`, "at least one load balancer"}},
		{"no ports", "pools:\n" + one("a", "ARN1", ""), []string{`pool "a"`, "one range of listener ports"}},
		{"reversed", "pools:\n" + one("a", "ARN1", "30049-30000"), []string{`pool "a"`, `"30049-30000"`, "write the lower port first"}},
		{"no range", "pools:\n" + one("a", "ARN1", "many"), []string{`pool "a"`, `"many"`, "of the form 30000-30049"}},
		{"port 0", "pools:\n" + one("a", "ARN1", "0-5"), []string{`pool "a"`, "outside 1-65535"}},
		{"no ARN", "pools:\n" + one("a", "games", "1"), []string{`pool "a"`, `"games"`, "not the ARN of a load balancer"}},
		{"an application load balancer", "pools:\n" + one("a", strings.ReplaceAll(arn(1), "/net/", "/app/"), "1"), []string{`pool "a"`, "should end in loadbalancer/net/"}},
		{"overlap of pools", "pools:\n" + one("a", "ARN1", "1-10") + one("b", "ARN2, ARN1", "10-20"), []string{`pool "b"`, "listener port 10", arn(1), `in pool "a" already`, "list each port once"}},
		{"overlap in a pool", "pools:\n" + one("a", "ARN1", "1-10, 5"), []string{`pool "a"`, "1-10 and 5 overlap"}},
		{"load balancer twice", "pools:\n" + one("a", "ARN1, ARN1", "7"), []string{`pool "a"`, "listener port 7", `in pool "a" already`}},
		{"two documents", "pools:\n" + one("a", "ARN1", "1") + "---\npools:\n" + one("b", "ARN1", "2"), []string{"more than one YAML document"}},
		{"everything excluded", with("excludedPorts: [1-9]"), []string{`pool "a"`, "excludedPorts leave none"}},
		{"excluded elsewhere", with("excludedPorts: [\"10\"]"), []string{`pool "a"`, "excludedPorts 10 are in none"}},
		{"excluded nonsense", with("excludedPorts: [x]"), []string{`pool "a"`, "excludedPorts", `"x"`}},
		{"unknown protocol", with("protocols: [udp]"), []string{`pool "a"`, `"udp"`, "use TCP, UDP or TCP_UDP"}},
		{"unknown placement", with("placement: fill"), []string{`pool "a"`, `"fill"`, "use spread"}},
		{"cooldown without unit", with("cooldown: 120"), []string{"120", "90s or 2m"}},
		{"cooldown below zero", with("cooldown: -1s"), []string{`pool "a"`, "cooldown -1s is outside 0s-24h"}},
		{"a quota below zero", with("quota: {perPod: -1}"), []string{`pool "a"`, "quota: perPod -1 is outside 0-50"}},
		{"more ports than a load balancer has", with("quota: {perPod: 51}"), []string{`pool "a"`, "quota: perPod 51 is outside 0-50"}},
		{"a quota of a namespace below zero", with("quota: {perNamespace: -1}"), []string{`pool "a"`, "quota: perNamespace -1 is negative"}},
		{"sticky for a year", with("sticky: 8760h"), []string{`pool "a"`, "sticky 8760h0m0s is outside"}},
		{"no namespace", with("namespaces: [\"\"]"), []string{`pool "a"`, "omit namespaces"}},
		{"namespace pattern", with("namespaces: [\"game*\"]"), []string{`pool "a"`, `"game*"`}},
		{"interval too short", with("healthCheck: {interval: 4s}"), []string{`pool "a"`, "interval 4s", "5s to 300s"}},
		{"interval in parts", with("healthCheck: {interval: 5500ms}"), []string{`pool "a"`, "whole seconds"}},
		{"timeout over interval", with("healthCheck: {interval: 5s, timeout: 6s}"), []string{`pool "a"`, "timeout 6s is longer"}},
		{"threshold of one", with("healthCheck: {healthyThreshold: 1}"), []string{`pool "a"`, "healthyThreshold 1 is outside 2-10"}},
		{"unknown attribute", with("targetGroupAttributes: {deregistration_delay: \"3\"}"), []string{`pool "a"`, `"deregistration_delay" cannot be set`, "deregistration_delay.timeout_seconds"}},
		{"value out of range", with("targetGroupAttributes: {deregistration_delay.timeout_seconds: \"3601\"}"), []string{`pool "a"`, `"3601" is not a valid value`}},
		{"an attribute that AWS refuses for UDP", with("targetGroupAttributes: {preserve_client_ip.enabled: \"false\"}"), []string{`pool "a"`, "for UDP and TCP_UDP"}},
		{"empty tag", "pools:\n- {name: a, loadBalancerTags: {\"\": x}, listenerPorts: [1-9]}", []string{`pool "a"`, "empty key"}},
	} {
		got, err := poolfile.Parse(pools(test.text))
		if err == nil {
			t.Errorf("%s: accepted as %+v", test.name, got)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), strings.ReplaceAll(want, "ARN1", arn(1))) {
				t.Errorf("%s: got %q; want %q in it", test.name, err, want)
			}
		}
	}
	// What looks like an overlap but is none.
	for name, text := range map[string]string{
		"same ports of two load balancers": "pools:\n" + one("a", "ARN1", "1-10") + one("b", "ARN2", "1-10"),
		"one document with its markers":    "# pools\n---\npools:\n" + one("a", "ARN1", "1-10") + "...\n",
		"side by side":                     "pools:\n" + one("a", "ARN1", "1-10") + one("b", "ARN1", "11-20"),
	} {
		if _, err := poolfile.Parse(pools(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadErrorNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pools.yaml")
	if _, _, err := poolfile.Read(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	for written, good := range map[string]bool{goodPools: true, "pools: []": false} {
		if err := os.WriteFile(path, pools(written), 0o600); err != nil {
			t.Fatal(err)
		}
		got, text, err := poolfile.Read(path)
		if good && (err != nil || len(got.Pools) != 2) || !good && (err == nil || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: got %+v, %v", written, got, err)
		}
		if !bytes.Equal(text, pools(written)) {
			t.Errorf("%q was read as %q", written, text)
		}
	}
}

// TestParsingCostsNoMoreForWideRanges: the allocator must not hang on a pool that lists
// thousands of ports on each of many load balancers.
func TestParsingCostsNoMoreForWideRanges(t *testing.T) {
	var arns []string
	for n := range 50 {
		arns = append(arns, arn(n))
	}
	cost := func(ports string) uint64 {
		text := []byte("pools:\n- {name: a, loadBalancers: [" + strings.Join(arns, ", ") + "], listenerPorts: [" + ports + "]}")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := poolfile.Parse(text); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if narrow, wide := cost("30000-30049"), cost("30000-39999"); wide > 2*narrow {
		t.Errorf("parsing takes %d bytes with 50 ports and %d with 10,000", narrow, wide)
	}
}

func TestUnchangedComparesTheContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pools.yaml")
	if poolfile.Unchanged(path, nil) {
		t.Error("a file that is not there is unchanged")
	}
	if err := os.WriteFile(path, pools(goodPools), 0o600); err != nil {
		t.Fatal(err)
	}
	if !poolfile.Unchanged(path, pools(goodPools)) || poolfile.Unchanged(path, pools("pools: []")) {
		t.Error("the content is not compared")
	}
}

// TestWideRangesAreWarnedOf with the arithmetic. Some more ports than listeners are useful.
func TestWideRangesAreWarnedOf(t *testing.T) {
	for ports, want := range map[string]string{
		"[30000-30049]":              "",
		"[30000-30199]":              "",
		"[30000-30100, 31000-31099]": `pool "a" lists 201 listener ports on each of 2 load balancers, so 402 ports for 100 listeners: AWS allows 50 listeners`,
		"[30000-39999]":              "20000 ports for 100 listeners",
	} {
		got, err := poolfile.Parse(pools("pools:\n- {name: a, loadBalancers: [ARN1, ARN2], listenerPorts: " + ports + "}"))
		if all := strings.Join(got.Warnings, "; "); err != nil || (want == "") != (all == "") || !strings.Contains(all, want) {
			t.Errorf("%s: got %q, %v, want %q", ports, all, err, want)
		}
	}
	got, err := poolfile.Parse([]byte("pools: [{name: a, loadBalancerTags: {a: b}, listenerPorts: [30000-39999]}]"))
	if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "lists 10000 listener ports on each load balancer: AWS") {
		t.Errorf("by tags: got %q, %v", got.Warnings, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(pools(goodPools))
	f.Add(pools("pools:\n- {name: a, loadBalancers: [ARN1], listenerPorts: [60000-60010, 7]}"))
	f.Add([]byte("pools: [{}]"))
	f.Add([]byte("---\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := poolfile.Parse(text)
		if err != nil {
			return
		}
		names, used := make(map[string]bool), make(map[string]bool)
		for _, p := range got.Pools {
			if p.Name == "" || names[p.Name] || len(p.LoadBalancers)+len(p.Tags) == 0 || len(p.Ranges) == 0 || len(p.Terms.Protocols) == 0 || p.Terms.Cooldown < 0 || p.Terms.HealthCheck.IntervalSeconds < 5 {
				t.Fatalf("accepted %+v of %+v", p, got)
			}
			names[p.Name] = true
			for _, lb := range p.LoadBalancers {
				for _, r := range p.Ranges {
					for port := r.From; port <= r.To; port++ {
						key := fmt.Sprint(lb, port)
						if used[key] || port < 1 || port > 65535 {
							t.Fatalf("accepted %+v with port %d of %s", got, port, lb)
						}
						used[key] = true
					}
				}
			}
		}
		if len(got.Pools) == 0 {
			t.Fatal("accepted nothing")
		}
	})
}
