package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/portpool"
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
  listenerPorts: [40000]
`

// pools puts ARNs into a pool file.
func pools(text string) []byte {
	return []byte(strings.NewReplacer("ARN1", arn(1), "ARN2", arn(2)).Replace(text))
}

func TestParsePools(t *testing.T) {
	got, err := app.ParsePools(pools(goodPools))
	want := []inventory.Pool{
		{Name: "udp", LoadBalancers: []string{arn(1), arn(2)}, Ranges: []portpool.Range{{From: 30000, To: 30049}, {From: 31000, To: 31000}}},
		{Name: "tcp", LoadBalancers: []string{arn(1)}, Ranges: []portpool.Range{{From: 40000, To: 40000}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestParsePoolsRefusesWithPoolAndRemedy(t *testing.T) {
	one := func(name, loadBalancers, ports string) string {
		return fmt.Sprintf("- {name: %q, loadBalancers: [%s], listenerPorts: [%s]}\n", name, loadBalancers, ports)
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
		{"upside down", "pools:\n" + one("a", "ARN1", "30049-30000"), []string{`pool "a"`, `"30049-30000"`, "write the lower port first"}},
		{"no range", "pools:\n" + one("a", "ARN1", "many"), []string{`pool "a"`, `"many"`, "of the form 30000-30049"}},
		{"port 0", "pools:\n" + one("a", "ARN1", "0-5"), []string{`pool "a"`, "outside 1-65535"}},
		{"no ARN", "pools:\n" + one("a", "games", "1"), []string{`pool "a"`, `"games"`, "not the ARN of a load balancer"}},
		{"an application load balancer", "pools:\n" + one("a", strings.ReplaceAll(arn(1), "/net/", "/app/"), "1"), []string{`pool "a"`, "should end in loadbalancer/net/"}},
		{"overlap of pools", "pools:\n" + one("a", "ARN1", "1-10") + one("b", "ARN2, ARN1", "10-20"), []string{`pool "b"`, "listener port 10", arn(1), `in pool "a" already`, "list each port once"}},
		{"overlap in a pool", "pools:\n" + one("a", "ARN1", "1-10, 5"), []string{`pool "a"`, "listener port 5", `in pool "a" already`}},
		{"load balancer twice", "pools:\n" + one("a", "ARN1, ARN1", "7"), []string{`pool "a"`, "listener port 7", `in pool "a" already`}},
	} {
		got, err := app.ParsePools(pools(test.text))
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
		"side by side":                     "pools:\n" + one("a", "ARN1", "1-10") + one("b", "ARN1", "11-20"),
	} {
		if _, err := app.ParsePools(pools(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadPoolsNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pools.yaml")
	if _, err := app.ReadPools(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	for text, good := range map[string]bool{goodPools: true, "pools: []": false} {
		if err := os.WriteFile(path, pools(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := app.ReadPools(path)
		if good && (err != nil || len(got) != 2) || !good && (err == nil || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func FuzzParsePools(f *testing.F) {
	f.Add(pools(goodPools))
	f.Add(pools("pools:\n- {name: a, loadBalancers: [ARN1], listenerPorts: [60000-60010, 7]}"))
	f.Add([]byte("pools: [{}]"))
	f.Add([]byte("---\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := app.ParsePools(text)
		if err != nil {
			return
		}
		names, used := make(map[string]bool), make(map[string]bool)
		for _, p := range got {
			if p.Name == "" || names[p.Name] || len(p.LoadBalancers) == 0 || len(p.Ranges) == 0 {
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
		if len(got) == 0 {
			t.Fatal("accepted nothing")
		}
	})
}
