package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/ledger"
)

// TestIndexFindsWhatASearchFinds changes an index at random and compares every answer with
// a search through all records.
func TestIndexFindsWhatASearchFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := ledger.NewIndex[ledger.Port]()
	all := make(map[string]ledger.Record[ledger.Port])
	states := []ledger.PortState{"", ledger.Free, ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown}
	wanted := map[ledger.Key]func(ledger.Record[ledger.Port]) bool{
		ledger.PortsOf("lb-1"):              func(p ledger.Record[ledger.Port]) bool { return p.Name[:5] == "lb-1-" },
		ledger.PortsHeldBy("claim-1"):       func(p ledger.Record[ledger.Port]) bool { return p.Value.Holder == "claim-1" },
		ledger.PortsOfPod("games", "pod-2"): func(p ledger.Record[ledger.Port]) bool { return p.Value.Pod == "pod-2" },
		ledger.ReleasingPorts:               func(p ledger.Record[ledger.Port]) bool { return p.Value.State == ledger.Releasing },
		ledger.PortsOf("lb-9"):              func(ledger.Record[ledger.Port]) bool { return false },
	}
	for step := range 3000 {
		name := fmt.Sprintf("lb-%d-%d", r.IntN(3), r.IntN(6))
		if r.IntN(4) == 0 {
			x.Remove(name)
			delete(all, name)
		} else {
			p := ledger.Record[ledger.Port]{Name: name, Version: fmt.Sprint(step), CreatedAt: time.Unix(int64(r.IntN(3)), 0), Value: ledger.Port{
				State: states[r.IntN(len(states))], Holder: fmt.Sprint("claim-", r.IntN(3)), Namespace: "games", Pod: fmt.Sprint("pod-", r.IntN(3)),
			}}
			if r.IntN(2) == 0 {
				p.Value.TargetGroupARN = "arn"
			}
			x.Put(p)
			all[name] = p
		}
		for key, matches := range wanted {
			var want []ledger.Record[ledger.Port]
			for _, p := range all {
				if matches(p) {
					want = append(want, p)
				}
			}
			slices.SortFunc(want, func(a, b ledger.Record[ledger.Port]) int { return ledger.ByAge(&a, &b) })
			var got []ledger.Record[ledger.Port]
			for _, p := range x.By(key) {
				got = append(got, *p)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("step %d: %s: want -, got +:\n%s", step, key, diff)
			}
		}
		if got, exists := x.Get(name); len(x.All()) != len(all) || cmp.Diff(got, all[name]) != "" || exists != (all[name].Name != "") {
			t.Fatalf("step %d: %s is %+v of %d, want %+v of %d", step, name, got, len(x.All()), all[name], len(all))
		}
	}
}

// A reader may keep an answer while the index changes.
func TestAnswersOfAnIndexNeverChange(t *testing.T) {
	x := ledger.NewIndex[ledger.Port]()
	held := func(name, version string) ledger.Record[ledger.Port] {
		return ledger.Record[ledger.Port]{Name: name, Version: version, Value: ledger.Port{State: ledger.Bound, Holder: "c"}}
	}
	x.Put(held("lb-1-1", "1"))
	x.Put(held("lb-1-2", "1"))
	before := x.By(ledger.PortsHeldBy("c"))
	if !ledger.Same(before, x.By(ledger.PortsHeldBy("c"))) {
		t.Error("two answers differ although nothing has changed")
	}
	for what, change := range map[string]func(){
		"replaced": func() { x.Put(held("lb-1-1", "2")) },
		"added":    func() { x.Put(held("lb-1-0", "1")) },
		"removed":  func() { x.Remove("lb-1-2") },
	} {
		last := x.By(ledger.PortsHeldBy("c"))
		change()
		if ledger.Same(last, x.By(ledger.PortsHeldBy("c"))) {
			t.Errorf("%s: the answer is the same", what)
		}
	}
	if len(before) != 2 || before[0].Name != "lb-1-1" || before[0].Version != "1" || before[1].Name != "lb-1-2" {
		t.Errorf("the first answer is now %v", before)
	}
}

func TestKeysOfClaims(t *testing.T) {
	waiting := ledger.Claim{Namespace: "games", Pool: "p", State: ledger.Waiting, PodIP: "10.0.0.1", ConfirmedIP: "10.0.0.1"}
	with := func(change func(*ledger.Claim)) ledger.Claim {
		c := waiting
		change(&c)
		return c
	}
	for _, test := range []struct {
		what             string
		claim            ledger.Claim
		queued, portless bool
	}{
		{"waiting", waiting, true, true},
		{"its pod IP is not confirmed", with(func(c *ledger.Claim) { c.ConfirmedIP = "" }), false, true},
		{"it has a plan", with(func(c *ledger.Claim) { c.Ports = make([]ledger.PlannedPort, 1) }), false, false},
		{"granted", with(func(c *ledger.Claim) { c.State = ledger.Granted }), false, false},
		{"of another pool", with(func(c *ledger.Claim) { c.Pool = "q" }), false, true},
	} {
		x := ledger.NewIndex[ledger.Claim]()
		x.Put(ledger.Record[ledger.Claim]{Name: "claim-a", Value: test.claim})
		if queued := len(x.By(ledger.QueueOf("p"))) == 1; queued != test.queued {
			t.Errorf("%s: in the queue: %v", test.what, queued)
		}
		if portless := len(x.By(ledger.PortlessClaims)) == 1; portless != test.portless {
			t.Errorf("%s: portless: %v", test.what, portless)
		}
		if ofPool := len(x.By(ledger.ClaimsOf("games", test.claim.Pool))) == 1; !ofPool {
			t.Errorf("%s: not found by its namespace and pool", test.what)
		}
	}
}

// TestReadingAnIndexCopiesNothing: several loops read all records each second.
func TestReadingAnIndexCopiesNothing(t *testing.T) {
	x := ledger.NewIndex[ledger.Port]()
	for n := range 1000 {
		x.Put(ledger.Record[ledger.Port]{Name: ledger.PortName("lb", n), Value: ledger.Port{State: ledger.Bound}})
	}
	if n := testing.AllocsPerRun(10, func() { x.All(); x.By(ledger.PortsOf("lb")) }); n > 0 {
		t.Errorf("reading allocates %v times", n)
	}
	before := x.All()
	x.Remove(ledger.PortName("lb", 1))
	if len(before) != 1000 || len(x.All()) != 999 {
		t.Errorf("%d records before and %d after one was removed", len(before), len(x.All()))
	}
}
