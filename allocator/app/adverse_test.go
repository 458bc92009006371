package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
)

// The listener ports of the cast.
const (
	livePort = firstAudit + iota
	releasingPort
	barePort
	crashedPort
	olderPort
	lonePort
	unknownPort
	livingPort
	cooldownPort
	restoredPort
	strangerPort
)

// cast puts one of each on a load balancer: what must stay, and all that the janitor
// takes back. Names end in the number of the load balancer.
func (w *auditWorld) cast(balancer int) {
	w.Helper()
	name := func(what string) string { return fmt.Sprintf("%s %d", what, balancer) }
	pod := func(what string) string { return fmt.Sprintf("%s-%d", what, balancer) }

	// A pod that lives and has its port.
	group, listener := w.bind(name("live"), pod("live"), balancer, livePort, 1)
	w.lives(pod("live"))
	w.record(pod("live"), balancer, livePort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	// Two that were released, one of them before it had a listener.
	group, listener = w.bind(name("releasing"), pod("releasing"), balancer, releasingPort, 1)
	w.record(pod("releasing"), balancer, releasingPort, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener})
	group = w.group(name("bare"), pod("bare"), w.fenceOf(balancer, barePort, 1))
	w.record(pod("bare"), balancer, barePort, ledger.Port{State: ledger.Releasing, TargetGroupARN: group})
	// One whose pod is gone without a word.
	group, listener = w.bind(name("crashed"), pod("crashed"), balancer, crashedPort, 1)
	w.record(pod("crashed"), balancer, crashedPort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	// What was left of an earlier holder: a whole binding, and a target group alone.
	w.bind(name("older"), pod("older"), balancer, olderPort, 1)
	w.record(pod("older"), balancer, olderPort, ledger.Port{State: ledger.Free, Generation: 2})
	w.group(name("lone"), pod("lone"), w.fenceOf(balancer, lonePort, 1))
	w.record(pod("lone"), balancer, lonePort, ledger.Port{State: ledger.Free, Generation: 2})
	// Of these the ledger has lost the lease; one's pod lives and will say so.
	w.bind(name("unknown"), pod("unknown"), balancer, unknownPort, 1)
	w.bind(name("living"), pod("living"), balancer, livingPort, 1)
	w.lives(pod("living"))
	w.record(pod("cooldown"), balancer, cooldownPort, ledger.Port{State: ledger.Cooldown})
	// A lease that was lost and written again knows no target group, and there is one.
	w.group(name("restored"), pod("restored"), w.fenceOf(balancer, restoredPort, 1))
	w.record(pod("restored"), balancer, restoredPort, ledger.Port{State: ledger.Releasing, Restored: true})
	// Somebody else's, known and recorded.
	w.stranger(name("stranger"), balancer, strangerPort)
	w.record("", balancer, strangerPort, ledger.Port{State: ledger.Blocked, Foreign: w.made[name("stranger")+"/listener"]})
}

// whole are the names of the two parts of bindings.
func whole(names ...string) (both []string) {
	for _, name := range names {
		both = append(both, name+"/group", name+"/listener")
	}
	return both
}

// on puts a load balancer into names of the cast.
func on(balancer int, names []string) (of []string) {
	for _, name := range names {
		actor, what, _ := strings.Cut(name, "/")
		of = append(of, fmt.Sprintf("%s %d/%s", actor, balancer, what))
	}
	return of
}

// taken is all of a cast that is taken back when nothing is wrong, states what its
// ports are then.
var taken = append(whole("releasing", "crashed", "older", "unknown"), "bare/group", "lone/group", "restored/group")

var takenStates = map[int]ledger.PortState{
	livePort: ledger.Bound, releasingPort: ledger.Free, barePort: ledger.Free, crashedPort: ledger.Free, olderPort: ledger.Free, lonePort: ledger.Free,
	cooldownPort: ledger.Free, restoredPort: ledger.Free, strangerPort: ledger.Blocked,
}

// ended holds the ports of one load balancer's cast to their states; those that are
// not named are as when nothing is wrong.
func (w *auditWorld) ended(balancer int, states map[int]ledger.PortState) {
	w.Helper()
	for port, want := range takenStates {
		if other, named := states[port]; named {
			want = other
		}
		w.is(balancer, port, want)
	}
}

// outage is what the janitor still does without one kind of call.
type outage struct {
	action string
	// gone is what it takes back all the same; states are those of ports that are not
	// as usual.
	gone   []string
	states map[int]ledger.PortState
}

var outages = []outage{
	{
		// What needs no look at a load balancer goes on.
		"DescribeListeners", []string{"lone/group"},
		map[int]ledger.PortState{releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing},
	},
	{
		// Nothing is taken for an orphan; whose target group is recorded is released.
		"DescribeTargetGroups", append(whole("releasing", "crashed"), "bare/group"),
		map[int]ledger.PortState{restoredPort: ledger.Releasing},
	},
	{
		"DescribeTags", nil,
		map[int]ledger.PortState{releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing},
	},
	{
		"DeleteListener", []string{"bare/group", "lone/group", "restored/group"},
		map[int]ledger.PortState{releasingPort: ledger.Releasing, crashedPort: ledger.Releasing},
	},
	{
		// The listeners go, and no port is called free as long as its target group is
		// there.
		"DeleteTargetGroup", []string{"releasing/listener", "crashed/listener", "older/listener", "unknown/listener"},
		map[int]ledger.PortState{releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing},
	},
}

// TestWithoutARight takes one right after the other from the janitor. It says which it
// lacks, goes on with what needs none of it, takes nothing that is not to be taken,
// and does the rest once it has the right.
func TestWithoutARight(t *testing.T) {
	for _, o := range outages {
		t.Run(o.action, func(t *testing.T) {
			w := newAuditWorld(t, 1)
			w.cast(0)
			w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
				if c.Action == o.action {
					return elbemu.Refuse(http.StatusForbidden, "AccessDenied", "User: portlease is not authorized")
				}
				return elbemu.Fault{}
			})
			sweeps, audits := w.complaints(untilAll)
			w.complains("sweeps", sweeps, "allow elasticloadbalancing:"+o.action)
			w.complains("audits", audits, "allow elasticloadbalancing:"+o.action)
			w.isGone(on(0, o.gone)...)
			w.ended(0, o.states)
			w.emulator.SetFault(nil)
			w.recovers()
		})
	}
}

// recovers wants all that is to be taken back to be gone once nothing is wrong.
func (w *auditWorld) recovers() {
	w.Helper()
	if err := w.rounds(untilAll); err != nil {
		w.Errorf("it still complains: %v", err)
	}
	var all []string
	for n := range w.balancers {
		all = append(all, on(n, taken)...)
		w.ended(n, nil)
	}
	w.isGone(all...)
}

// TestWithoutTheRightToLookAtPods, no claim expires and no orphan without a lease goes,
// because any pod may live.
func TestWithoutTheRightToLookAtPods(t *testing.T) {
	w := newAuditWorld(t, 1)
	w.cast(0)
	w.noPods = errors.New("pods is forbidden")
	sweeps, audits := w.complaints(untilAll)
	w.complains("sweeps", sweeps, w.noPods.Error())
	w.complains("audits", audits, w.noPods.Error())
	w.isGone(on(0, append(whole("releasing", "older"), "bare/group", "lone/group", "restored/group"))...)
	w.ended(0, map[int]ledger.PortState{crashedPort: ledger.Bound})
	w.noPods = nil
	w.recovers()
}

// TestWithoutTheRightToReadLeases, nothing in AWS is touched: a view says nothing for
// certain. What needs no read goes on.
func TestWithoutTheRightToReadLeases(t *testing.T) {
	w := newAuditWorld(t, 1)
	w.cast(0)
	w.ports.fails = errors.New("leases is forbidden")
	sweeps, audits := w.complaints(untilAll)
	w.complains("sweeps", sweeps, w.ports.fails.Error())
	w.complains("audits", audits, w.ports.fails.Error())
	w.isGone()
	w.ended(0, map[int]ledger.PortState{
		releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing,
	})
	w.ports.fails = nil
	w.recovers()
}

// pager makes pages of two, and breaks the marker of the second.
type pager struct {
	*auditWorld
	action string
	// marker gives the marker that the listing goes on with, in place of the one that
	// was asked with.
	marker func(string) string
	// asked counts the pages that were asked for in a row, without a first one.
	asked int
}

// mostPages is how many pages a listing of one load balancer's cast, or of its target
// groups, can have.
const mostPages = 10

func (p *pager) door(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	if form.Get("Action") == p.action {
		p.asked++
		form.Set("PageSize", "2")
		if m := form.Get("Marker"); m == "" {
			p.asked = 1
		} else {
			form.Set("Marker", p.marker(m))
		}
		if p.asked > mostPages {
			p.Errorf("%s: page %d of %d", p.action, p.asked, mostPages)
			return nil, errors.New("this listing never ends")
		}
	}
	onward := r.Clone(r.Context())
	body := form.Encode()
	onward.Body, onward.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return p.emulator.RoundTrip(onward)
}

// TestWithABrokenMarker breaks off listings after their first page, or makes them go
// round in a circle. A listing that is not complete is none: what it does not show may
// be there.
func TestWithABrokenMarker(t *testing.T) {
	for name, marker := range map[string]func(string) string{
		"refused":       func(string) string { return "nonsense" },
		"begins again":  func(string) string { return "" },
		"goes in pairs": circle(),
	} {
		for _, o := range outages[:2] {
			t.Run(o.action+" "+name, func(t *testing.T) {
				w := newAuditWorld(t, 1)
				w.cast(0)
				p := &pager{auditWorld: w, action: o.action, marker: marker}
				w.door = p.door
				sweeps, audits := w.complaints(untilAll)
				w.complains("sweeps", sweeps, "arker")
				w.complains("audits", audits, "arker")
				w.isGone(on(0, o.gone)...)
				w.ended(0, o.states)
				w.door = nil
				w.recovers()
			})
		}
	}
}

// circle lets a listing go on to its second page and then begin again.
func circle() func(string) string {
	n := 0
	return func(m string) string {
		if n++; n%2 == 0 {
			return ""
		}
		return m
	}
}

// TestHalfOfTheLoadBalancersCannotBeReached: nothing of them is touched, and the others
// are served as ever.
func TestHalfOfTheLoadBalancersCannotBeReached(t *testing.T) {
	w := newAuditWorld(t, 4)
	for n := range w.balancers {
		w.cast(n)
	}
	dark := w.balancers[1:3]
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeListeners" && slices.Contains(dark, c.Params.Get("LoadBalancerArn")) {
			return elbemu.ServerError()
		}
		return elbemu.Fault{}
	})
	sweeps, audits := w.complaints(untilAll)
	for _, arn := range w.balancers {
		for who, err := range map[string]error{"sweeps": sweeps, "audits": audits} {
			if unreached := slices.Contains(dark, arn); err == nil || strings.Contains(err.Error(), "listing listeners of "+arn) != unreached {
				t.Errorf("%s is dark: %v; %s complain of %v", arn, unreached, who, err)
			}
		}
	}
	var gone []string
	for n := range w.balancers {
		if n == 1 || n == 2 {
			gone = append(gone, on(n, outages[0].gone)...)
			w.ended(n, outages[0].states)
			continue
		}
		gone = append(gone, on(n, taken)...)
		w.ended(n, nil)
	}
	w.isGone(gone...)
	w.emulator.SetFault(nil)
	w.recovers()
}

// TestAnEmptyListAsTheLedger gives the janitor a view without any lease, or without
// some: what a listing of Leases leaves out is not gone.
func TestAnEmptyListAsTheLedger(t *testing.T) {
	for name, c := range map[string]struct {
		see func(*auditWorld)
		// gone is what may be taken back all the same.
		gone []string
	}{
		// What is not in the view is read; only what the truth has no use for goes.
		"no lease at all": {func(w *auditWorld) { w.claims.shows(); w.ports.shows() }, append(whole("older", "unknown"), "lone/group", "restored/group")},
		"no port lease":   {func(w *auditWorld) { w.ports.shows() }, append(whole("older", "unknown"), "lone/group", "restored/group")},
		"no claim lease":  {func(w *auditWorld) { w.claims.shows() }, append(whole("releasing", "older", "unknown"), "bare/group", "lone/group", "restored/group")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAuditWorld(t, 1)
			w.cast(0)
			c.see(w)
			if err := w.rounds(untilAll); err != nil {
				t.Error(err)
			}
			w.isGone(on(0, c.gone)...)
			w.is(0, livePort, ledger.Bound)
			w.is(0, strangerPort, ledger.Blocked)
			if n := len(w.claims.Rows); n < 2 {
				t.Errorf("%d claims are left", n)
			}
			w.claims.stale, w.ports.stale = false, false
			w.recovers()
		})
	}
}

// TestAStaleListAsTheLedger shows the janitor the port of a live pod as it was before
// that had it, and its claim as if it ended.
func TestAStaleListAsTheLedger(t *testing.T) {
	for _, state := range []ledger.PortState{ledger.Free, ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown} {
		t.Run(string(state), func(t *testing.T) {
			w := newAuditWorld(t, 1)
			f := w.fenceOf(0, livePort, 2)
			group, listener := w.bind("live", "live", 0, livePort, 2)
			w.lives("live")
			w.record("live", 0, livePort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener, Generation: 2})
			truth := w.ports.Rows[f.Lease]
			claim := w.claims.Rows[truth.Value.Holder]
			claim.Value.Ports[0].Fence = f
			w.claims.Rows[claim.Name] = claim

			old := truth
			old.Version, old.Value.State, old.Value.Generation = "0", state, 1
			old.Value.TargetGroupARN, old.Value.ListenerARN = "arn:of-before", "arn:listener-of-before"
			if !old.Value.Held() {
				old.Value.Holder, old.Value.TargetGroupARN, old.Value.ListenerARN = "", "", ""
			}
			before := claim
			before.Version, before.Value.State = "0", ledger.ClaimReleasing
			w.ports.shows(old)
			w.claims.shows(before)
			err := w.rounds(untilAll)
			w.isGone()
			if now := w.ports.Rows[f.Lease]; now != truth {
				t.Errorf("the port was %+v and is %+v", truth, now)
			}
			if now, there := w.claims.Rows[claim.Name]; !there || now.Version != claim.Version {
				t.Errorf("the claim was %+v and is %+v", claim, now)
			}
			if err != nil {
				t.Errorf("it complains of %v, although nothing is wrong", err)
			}
		})
	}
}

// TestWhatIsReadAfterTheListingCounts has a pod claim and bind after the janitor has
// read its view and before it lists AWS: the listing shows what the view does not know.
func TestWhatIsReadAfterTheListingCounts(t *testing.T) {
	w := newAuditWorld(t, 1)
	w.record("before", 0, livePort, ledger.Port{State: ledger.Free})
	w.ports.shows(w.ports.Table.CachedAll()...)
	bound := false
	w.door = func(r *http.Request) (*http.Response, error) {
		if !bound {
			bound = true
			group, listener := w.bind("live", "live", 0, livePort, 2)
			w.lives("live")
			r := w.ports.Rows[w.fenceOf(0, livePort, 1).Lease]
			r.Value.State, r.Value.Generation, r.Value.Holder, r.Value.TargetGroupARN, r.Value.ListenerARN = ledger.Bound, 2, "claim-uid-live", group, listener
			_, err := w.ports.Update(context.Background(), r)
			w.must(err)
		}
		return w.emulator.RoundTrip(r)
	}
	if err := w.rounds(untilAll); err != nil {
		t.Error(err)
	}
	w.isGone()
	w.is(0, livePort, ledger.Bound)
}
