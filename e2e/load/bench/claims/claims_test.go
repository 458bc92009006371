package claims

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/e2e/load/scenario"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

// TestBothSidesClaim plays a small measurement.
func TestBothSidesClaim(t *testing.T) {
	const claims, rounds = 12, 2
	table, err := Measure(t.Context(), Config{
		Kube: kube, Cases: []Case{{1, 20}, {2, 40}}, Callers: 4, Claims: claims, Rounds: rounds, Progress: t.Output(), Say: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Print(t.Output()); err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != 2 || table.Rows[1].Case != "replicas 2, leases 40" {
		t.Fatalf("rows %+v", table.Rows)
	}
	for _, row := range table.Rows {
		for i, column := range table.Columns {
			f := row.Figures[i]
			if len(f.Rounds) != rounds {
				t.Errorf("%s: %s has %d rounds", row.Case, column.Name, len(f.Rounds))
			}
			switch column.Name {
			case "claims/s ÷ floor", "p50 ÷ floor", "p99 ÷ floor", "resident MiB", "floor claims/s":
				if f.Least <= 0 {
					t.Errorf("%s: %s is %v", row.Case, column.Name, f)
				}
			case "API calls/claim":
				// A claim needs a review, its pod and two Leases, whoever makes it.
				if f.Least < 4 {
					t.Errorf("%s: %v calls for a claim", row.Case, f)
				}
			}
		}
	}
}

// TestEachSideMakesItsCallsForEachClaim counts what the API server is asked.
func TestEachSideMakesItsCallsForEachClaim(t *testing.T) {
	const claims = 10
	s, err := site.New(t.Context(), site.Config{Kube: kube, Replicas: 1, LoadBalancers: 2, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	replicas, err := s.Serve(t.Context(), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := s.MakePods(t.Context(), "game", claims)
	if err != nil {
		t.Fatal(err)
	}
	o := newOurs(s, replicas, 3)
	t.Cleanup(o.close)
	for range 2 { // a pod's second round must cost as much as its first
		before, err := s.APICalls(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r, err := o.round(t.Context(), pods)
		if err != nil {
			t.Fatal(err)
		}
		var ports []string
		for i, c := range r.claims {
			if c.PodUID != pods[i].UID {
				t.Errorf("pod %s got the claim of pod %s", pods[i].UID, c.PodUID)
			}
			ports = append(ports, c.Ports[0].Fence.Lease)
		}
		slices.Sort(ports)
		if len(slices.Compact(ports)) != claims {
			t.Errorf("%d pods share ports: %v", claims, ports)
		}
		f, err := newFloor(t.Context(), s, r.claims[0], 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.clear(t.Context(), pods, r); err != nil {
			t.Fatal(err)
		}
		if _, err := f.round(t.Context(), pods); err != nil {
			t.Fatal(err)
		}
		err = kubeapi.Eventually(t.Context(), patience, "the API server to count", func() error {
			after, err := s.APICalls(t.Context())
			if err != nil {
				return err
			}
			return expectCalls(after, before, map[string]int{"tokenreviews POST": 2 * claims, "pods GET": 2 * claims, "leases POST": 4 * claims})
		})
		if err != nil {
			t.Error(err)
		}
	}
}

const patience = 10 * time.Second

// expectCalls returns an error if fewer calls of a kind were made than both sides need.
// The allocator may read pods more often, and reviews are exact.
func expectCalls(after, before site.APICalls, least map[string]int) error {
	for kind, want := range least {
		got := after[kind] - before[kind]
		if got < want || kind == "tokenreviews POST" && got > want {
			return fmt.Errorf("%d calls of %s, want %d", got, kind, want)
		}
	}
	return nil
}

func TestCasesAreParsed(t *testing.T) {
	cases, err := ParseCases("1:100,3:1000")
	if err != nil || !slices.Equal(cases, []Case{{1, 100}, {3, 1000}}) {
		t.Errorf("got %v, %v", cases, err)
	}
	for _, wrong := range []string{"", "1", "1:", "0:100", "1:100,", "1:1000,1:100", "a:b", "1:100x"} {
		if cases, err := ParseCases(wrong); err == nil {
			t.Errorf("%q: got %v", wrong, cases)
		}
	}
}
