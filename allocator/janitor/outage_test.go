package janitor_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
)

// outage is one kind of call that fails, and what the janitor still does without it.
type outage struct {
	action string
	// gone is what it still deletes; states are those of ports that are not as usual.
	gone   []string
	states map[int]ledger.PortState
}

var outages = []outage{
	{
		// Deletions that do not depend on listeners go on.
		"DescribeListeners", []string{"lone/group"},
		map[int]ledger.PortState{releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing},
	},
	{
		// No orphan is found; ports with a recorded target group are released.
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
		// Listeners are deleted, and no port is free while its target group exists.
		"DeleteTargetGroup", []string{"releasing/listener", "crashed/listener", "older/listener", "unknown/listener"},
		map[int]ledger.PortState{releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing},
	},
}

// TestMissingAWSPermissionStopsOnlyWhatNeedsIt denies the janitor one permission at a
// time. Its error names the permission. It does the work that does not need it, deletes
// nothing else, and does the rest once it has the permission.
func TestMissingAWSPermissionStopsOnlyWhatNeedsIt(t *testing.T) {
	for _, o := range outages {
		t.Run(o.action, func(t *testing.T) {
			w := newAccount(t, 1)
			w.cast(0)
			w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
				if c.Action == o.action {
					return elbemu.Refuse(http.StatusForbidden, "AccessDenied", "User: portlease is not authorized")
				}
				return elbemu.Fault{}
			})
			sweeps, audits := w.errorsOf(untilAll)
			w.expectError("sweeps", sweeps, "allow elasticloadbalancing:"+o.action)
			w.expectError("audits", audits, "allow elasticloadbalancing:"+o.action)
			w.expectGone(on(0, o.gone)...)
			w.expectStates(0, o.states)
			w.emulator.SetFault(nil)
			w.expectRecovery()
		})
	}
}

// expectRecovery expects everything to be deleted that should be, and those bindings of the
// first cast too, once nothing is wrong.
func (w *account) expectRecovery(too ...string) {
	w.Helper()
	if err := w.rounds(untilAll); err != nil {
		w.Errorf("it still fails: %v", err)
	}
	all := on(0, whole(too...))
	for n := range w.loadBalancers {
		all = append(all, on(n, deletedInAll)...)
		w.expectStates(n, nil)
	}
	w.expectGone(all...)
}

// TestMissingPodPermissionStopsExpiry: no claim expires and no orphan without a lease is
// deleted, because any pod may be live.
func TestMissingPodPermissionStopsExpiry(t *testing.T) {
	w := newAccount(t, 1)
	w.cast(0)
	w.noPods = errors.New("pods is forbidden")
	sweeps, audits := w.errorsOf(untilAll)
	w.expectError("sweeps", sweeps, w.noPods.Error())
	w.expectError("audits", audits, w.noPods.Error())
	w.expectGone(on(0, append(whole("releasing", "older"), "bare/group", "lone/group", "restored/group"))...)
	w.expectStates(0, map[int]ledger.PortState{crashedPort: ledger.Bound})
	w.noPods = nil
	w.expectRecovery()
}

// TestMissingLeasePermissionStopsDeletions: nothing in AWS is deleted, because the cache
// may be stale.
func TestMissingLeasePermissionStopsDeletions(t *testing.T) {
	w := newAccount(t, 1)
	w.cast(0)
	w.noPorts = errors.New("leases is forbidden")
	sweeps, audits := w.errorsOf(untilAll)
	w.expectError("sweeps", sweeps, w.noPorts.Error())
	w.expectError("audits", audits, w.noPorts.Error())
	w.expectGone()
	w.expectStates(0, map[int]ledger.PortState{
		releasingPort: ledger.Releasing, barePort: ledger.Releasing, crashedPort: ledger.Releasing, restoredPort: ledger.Releasing,
	})
	w.noPorts = nil
	w.expectRecovery()
}

// pager serves pages of two and breaks the marker of the second page.
type pager struct {
	*account
	action string
	// marker returns the marker to use instead of the requested one.
	marker func(string) string
	// asked counts the pages that were requested since the last first page.
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

// TestIncompleteListingIsNotTrusted ends listings after their first page, or lets them
// repeat. What an incomplete listing does not show may exist.
func TestIncompleteListingIsNotTrusted(t *testing.T) {
	for name, marker := range map[string]func(string) string{
		"refused":           func(string) string { return "nonsense" },
		"starts again":      func(string) string { return "" },
		"repeats two pages": circle(),
	} {
		for _, o := range outages[:2] {
			t.Run(o.action+" "+name, func(t *testing.T) {
				w := newAccount(t, 1)
				w.cast(0)
				p := &pager{account: w, action: o.action, marker: marker}
				w.door = p.door
				sweeps, audits := w.errorsOf(untilAll)
				w.expectError("sweeps", sweeps, "arker")
				w.expectError("audits", audits, "arker")
				w.expectGone(on(0, o.gone)...)
				w.expectStates(0, o.states)
				w.door = nil
				w.expectRecovery()
			})
		}
	}
}

// circle lets a listing reach its second page and then start again.
func circle() func(string) string {
	n := 0
	return func(m string) string {
		if n++; n%2 == 0 {
			return ""
		}
		return m
	}
}

// TestUnreachableLoadBalancersAreLeftAlone: nothing on them is deleted, and the others
// are audited as usual.
func TestUnreachableLoadBalancersAreLeftAlone(t *testing.T) {
	w := newAccount(t, 4)
	for n := range w.loadBalancers {
		w.cast(n)
	}
	dark := w.loadBalancers[1:3]
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeListeners" && slices.Contains(dark, c.Params.Get("LoadBalancerArn")) {
			return elbemu.ServerError()
		}
		return elbemu.Fault{}
	})
	sweeps, audits := w.errorsOf(untilAll)
	for _, arn := range w.loadBalancers {
		for who, err := range map[string]error{"sweeps": sweeps, "audits": audits} {
			if unreached := slices.Contains(dark, arn); err == nil || strings.Contains(err.Error(), "listing listeners of "+arn) != unreached {
				t.Errorf("%s is unreachable: %v; %s fail with %v", arn, unreached, who, err)
			}
		}
	}
	var gone []string
	for n := range w.loadBalancers {
		if n == 1 || n == 2 {
			gone = append(gone, on(n, outages[0].gone)...)
			w.expectStates(n, outages[0].states)
			continue
		}
		gone = append(gone, on(n, deletedInAll)...)
		w.expectStates(n, nil)
	}
	w.expectGone(gone...)
	w.emulator.SetFault(nil)
	w.expectRecovery()
}
