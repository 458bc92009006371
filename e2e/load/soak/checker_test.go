package soak

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// bench is a checker with one pod that holds one bound port.
type bench struct {
	*checker
	pod   *gamePod
	port  rig.PortRecord
	claim rig.ClaimRecord
}

func newBench(t *testing.T) *bench {
	d, err := newHistory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(true); err != nil {
			t.Error(err)
		}
	})
	b := &bench{checker: newChecker(d, newRegistry())}
	b.pod = b.registry.add(&rig.Pod{Name: "game-1", UID: "u1", IP: "127.30.0.9", Ports: "game=7777/UDP"})
	f := api.Fence{Lease: "lb-30000", Epoch: "e", Generation: 4}
	b.claim = rig.ClaimRecord{Name: ledger.ClaimName("u1"), Value: ledger.Claim{
		Pod: "game-1", PodUID: "u1", State: ledger.Granted, Ports: []ledger.PlannedPort{{ListenerPort: 30000, Fence: f}},
	}}
	b.port = rig.PortRecord{Name: f.Lease, Value: ledger.Port{
		State: ledger.Bound, Holder: b.claim.Name, Epoch: f.Epoch, Generation: f.Generation, Pod: "game-1", PodUID: "u1", TargetGroupARN: "arn",
	}}
	b.observeClaim(b.claim)
	b.observePort(b.port)
	return b
}

// goes changes the port.
func (b *bench) goes(change func(*ledger.Port)) {
	change(&b.port.Value)
	b.observePort(b.port)
}

// ends begins the release of the claim.
func (b *bench) ends() {
	b.claim.Value.State = ledger.ClaimReleasing
	b.observeClaim(b.claim)
}

// isOver takes the port through its release until it is free.
func (b *bench) isOver() {
	b.goes(func(p *ledger.Port) { p.State = ledger.Releasing })
	b.goes(func(p *ledger.Port) { p.State, p.Holder, p.TargetGroupARN = ledger.Cooldown, "", "" })
	b.goes(func(p *ledger.Port) { p.State = ledger.Free })
}

func TestALivePodKeepsItsPort(t *testing.T) {
	for name, c := range map[string]struct {
		terminating bool
		change      func(*ledger.Port)
		allowed     bool
	}{
		"released":                     {change: func(p *ledger.Port) { p.State = ledger.Releasing }},
		"let go before it was bound":   {change: func(p *ledger.Port) { p.State, p.Holder = ledger.Free, "" }},
		"another's":                    {change: func(p *ledger.Port) { p.Holder, p.Generation = "claim-u2", 5 }},
		"bound anew":                   {change: func(p *ledger.Port) { p.State = ledger.Claimed }, allowed: true},
		"touched":                      {change: func(*ledger.Port) {}, allowed: true},
		"released, but it was told to": {terminating: true, change: func(p *ledger.Port) { p.State = ledger.Releasing }, allowed: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.registry.update(b.pod, func(l *gamePod) { l.terminating = c.terminating })
			b.goes(c.change)
			switch found := b.found(); {
			case c.allowed && len(found) > 0:
				t.Errorf("found %v", found)
			case !c.allowed && (len(found) != 1 || !strings.HasPrefix(found[0].Error(), "S4: port lb-30000 was taken from pod game-1")):
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestReleasesAndReclaimsAreCountedSeparately(t *testing.T) {
	b := newBench(t)
	b.registry.update(b.pod, func(l *gamePod) { l.terminating = true })
	b.ends()
	b.isOver()
	if n := b.history.counts(); n[portsReleased] != 1 || n[portsTaken] != 0 || n[portsFree] != 1 || len(b.reclaims(true)) != 0 {
		t.Errorf("a pod's own release counts as %v", n)
	}
	b = newBench(t)
	b.registry.update(b.pod, func(l *gamePod) { l.terminating, l.removing, l.removedAt = true, true, time.Now().Add(-5*time.Second) })
	b.ends()
	b.isOver()
	got := b.reclaims(true)
	if n := b.history.counts(); n[portsReleased] != 0 || n[portsTaken] != 1 || n[claimsTaken] != 1 || n[portsFree] != 1 || len(got) != 1 {
		t.Fatalf("a reclaim counts as %v, measured %v", n, got)
	}
	// The claim was seen just now, five seconds after its pod had gone.
	if want := 5*time.Second + claimDuration + reclaimBound; got[0].took < 5*time.Second || got[0].took > 10*time.Second || got[0].bound < want-time.Second || got[0].bound > want+time.Second {
		t.Errorf("measured %+v, the bound should be %v", got[0], want)
	}
}

func TestAReclaimIsStableOnlyIfNoAllocatorFailedRecently(t *testing.T) {
	for name, c := range map[string]struct {
		removedAt time.Duration // ago
		over      bool
		stable    bool
	}{
		"it fails now": {electionTime * 2, false, false}, "it failed meanwhile": {5 * time.Second, true, false},
	} {
		b := newBench(t)
		b.registry.update(b.pod, func(l *gamePod) { l.terminating, l.removing, l.removedAt = true, true, time.Now().Add(-c.removedAt) })
		end := b.replicaFails()
		if c.over {
			end()
		}
		b.ends()
		b.isOver()
		if n := len(b.reclaims(c.stable)); n != 1 {
			t.Errorf("%s: %d reclaims with calm %v", name, n, c.stable)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var all []sample
	for n := range 100 {
		all = append(all, sample{took: time.Duration(n + 1)})
	}
	for part, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.9: 90, 0.99: 99, 1: 100} {
		if got := quantile(all, part); got != want {
			t.Errorf("%v of 1 to 100 is %d, want %d", part, got, want)
		}
	}
	if got := quantile(all[:1], 0.5); got != 1 {
		t.Errorf("the median of one is %d", got)
	}
}

func TestFlattenSplitsJoinedErrors(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	got := flatten(nil, errors.Join(one, nil, errors.Join(two)), fmt.Errorf("about: %w", errors.Join(one, two)))
	if len(got) != 3 || !errors.Is(got[0], one) || !errors.Is(got[1], two) || !strings.HasPrefix(got[2].Error(), "about: one") {
		t.Errorf("got %q", got)
	}
}

// A pod with two ports may leave one port unused on every load balancer.
func TestFitsCountsPodsThatCanCertainlyBeBound(t *testing.T) {
	s := &soak{config: config{agents: 12}}
	if n := portsEach(12); n != 5 {
		t.Fatalf("%d ports each", n)
	}
	double, single := &gamePod{Pod: &rig.Pod{Ports: "game=7777/UDP,chat=8080/TCP"}}, &gamePod{Pod: &rig.Pod{Ports: "game=7777/UDP"}}
	for _, c := range []struct {
		pods []*gamePod
		want int
	}{
		{nil, 0},
		{[]*gamePod{double, double, double, double, double, double}, 6},
		{[]*gamePod{double, double, double, double, double, double, single}, 6},
		{[]*gamePod{double, double, double, double, double, single, double}, 6},
		{[]*gamePod{double, double, double, double, double, single, single, single}, 7},
	} {
		if got := s.fits(c.pods); got != c.want {
			t.Errorf("of %d pods %d fit, want %d", len(c.pods), got, c.want)
		}
	}
}
