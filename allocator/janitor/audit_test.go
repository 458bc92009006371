package janitor_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const (
	ledgerID  = "cluster/portlease"
	orphanARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/pl-orphan/0123456789abcdef"
)

// orphanAWS is AWS with one target group that no lease accounts for.
type orphanAWS struct {
	tags    map[string]string
	hidden  bool
	deleted []string
}

func (s *orphanAWS) TargetGroups(context.Context) ([]elb.TargetGroup, error) {
	if s.hidden || len(s.deleted) > 0 {
		return nil, nil
	}
	return []elb.TargetGroup{{ARN: orphanARN, Name: elb.TargetGroupPrefix + "orphan"}}, nil
}

func (s *orphanAWS) Tags(context.Context, ...string) (map[string]map[string]string, error) {
	return map[string]map[string]string{orphanARN: s.tags}, nil
}

func (s *orphanAWS) DeleteListener(_ context.Context, arn string) error {
	s.deleted = append(s.deleted, arn)
	return nil
}

func (s *orphanAWS) DeleteTargetGroup(_ context.Context, arn string) error {
	s.deleted = append(s.deleted, arn)
	return nil
}

func (s *orphanAWS) Targets(context.Context, string) ([]elb.Target, error) { return nil, nil }

func noEvents(context.Context, string, string, string, string, string) error { return nil }

// noListings is a pool without listeners.
type noListings struct{}

func (noListings) List(context.Context) (map[string][]elb.Listener, error) { return nil, nil }

func (noListings) Listeners(context.Context, string) ([]elb.Listener, error) { return nil, nil }

func (noListings) Offers(string, int) bool { return true }

// currentClaims is a table of claims whose cache is current.
type currentClaims struct{ stale[ledger.Claim] }

func (c *currentClaims) Get(_ context.Context, name string) (ledger.Record[ledger.Claim], error) {
	r, exists := c.Cached(name)
	if !exists {
		return r, ledger.ErrAbsent
	}
	return r, nil
}

func (*currentClaims) OfPodIP(context.Context, string, string) ([]ledger.Record[ledger.Claim], error) {
	return nil, nil
}

func (c *currentClaims) Delete(_ context.Context, r claimRecord) error {
	c.cache = slices.DeleteFunc(c.cache, func(one claimRecord) bool { return one.Name == r.Name })
	return nil
}

// uncachedPorts is a table of ports whose cache is empty.
type uncachedPorts struct{ current }

func (*uncachedPorts) CachedAll() []portRecord { return nil }

func (*uncachedPorts) Cached(string) (portRecord, bool) { return portRecord{}, false }

// auditor returns a janitor that audits an orphan. pod is what it reads of the orphan's
// pod.
func auditor(s *orphanAWS, pod func() *ledger.Pod, claims ...claimRecord) *janitor.Janitor {
	return auditorOf(s, &current{}, pod, claims...)
}

func auditorOf(s *orphanAWS, ports ledger.Ports, pod func() *ledger.Pod, claims ...claimRecord) *janitor.Janitor {
	s.tags = elb.Tags{
		Ledger: ledgerID, Namespace: "games", Pod: "game-0", PodUID: "1",
		Lease: fence.Lease, Epoch: fence.Epoch, Generation: fence.Generation,
	}.Map()
	return janitor.New(janitor.Config{
		Ledger: ledgerID, Claims: &currentClaims{stale[ledger.Claim]{claims}}, Ports: ports, AWS: s, Listings: noListings{}, Timing: timing,
		ReserveUnbind: func(context.Context, string) (bool, error) { return true, nil },
		GetPod:        func(context.Context, string, string) (*ledger.Pod, error) { return pod(), nil },
		Count:         func(string, string) {}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Warn: noEvents,
	})
}

// deletedIn returns in which audit the orphan is deleted; 0 means in none.
func deletedIn(t *testing.T, j *janitor.Janitor, s *orphanAWS, audits int) int {
	t.Helper()
	for n := range audits {
		if err := j.Audit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(s.deleted) > 0 {
			if !slices.Equal(s.deleted, []string{orphanARN}) {
				t.Errorf("deleted %v", s.deleted)
			}
			return n + 1
		}
	}
	return 0
}

func noPod() *ledger.Pod { return nil }

// The sightings must be in a row. A single listing may be older or newer than the loss of
// the lease.
func TestOrphanIsDeletedAtTheThirdSighting(t *testing.T) {
	var s orphanAWS
	j := auditor(&s, noPod)
	if n := deletedIn(t, j, &s, 2); n != 0 {
		t.Errorf("deleted in audit %d", n)
	}
	s.hidden = true
	if n := deletedIn(t, j, &s, 1); n != 0 {
		t.Error("deleted although it was not listed")
	}
	s.hidden = false
	if n := deletedIn(t, j, &s, 10); n != 3 {
		t.Errorf("deleted in audit %d after it was not listed in one, want 3", n)
	}
}

// The ledger may know of a holder that the cache does not show yet.
func TestOrphanIsClassifiedByAFreshRead(t *testing.T) {
	for state, want := range map[ledger.PortState]int{ledger.Claimed: 0, ledger.Bound: 0, ledger.Releasing: 1, ledger.Cooldown: 1} {
		t.Run(string(state), func(t *testing.T) {
			var s orphanAWS
			ports := &uncachedPorts{current{stale[ledger.Port]{[]portRecord{portIn(state, "")}}}}
			if n := deletedIn(t, auditorOf(&s, ports, noPod), &s, 10); n != want {
				t.Errorf("deleted in audit %d, want %d", n, want)
			}
		})
	}
}

// Once the claim of the pod is granted without the orphan, the pod cannot have it adopted.
func TestOrphanThatALivePodMayHaveAdoptedIsKept(t *testing.T) {
	lives := func() *ledger.Pod { return &ledger.Pod{UID: "1"} }
	other := api.Fence{Lease: "lb-30001", Epoch: "e", Generation: 1}
	for _, test := range []struct {
		name   string
		pod    func() *ledger.Pod
		claims []claimRecord
		want   int
	}{
		{"no claim", lives, nil, 0},
		{"a waiting claim", lives, []claimRecord{claimIn(ledger.Waiting)}, 0},
		{"a claim that lists it", lives, []claimRecord{claimIn(ledger.Granted, fence)}, 0},
		{"a claim with another port", lives, []claimRecord{claimIn(ledger.Granted, other)}, 3},
		{"a later pod of that name", func() *ledger.Pod { return &ledger.Pod{UID: "2"} }, nil, 3},
		{"a terminal pod", func() *ledger.Pod { return &ledger.Pod{UID: "1", Terminal: true} }, nil, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s orphanAWS
			if n := deletedIn(t, auditor(&s, test.pod, test.claims...), &s, 10); n != test.want {
				t.Errorf("deleted in audit %d, want %d", n, test.want)
			}
		})
	}
}

// The cache may not show the port yet, because a grant may have been in progress when the
// release began. Without the claim nothing would account for that port.
func TestReleasedClaimIsKeptWhileItHoldsAPort(t *testing.T) {
	for state, kept := range map[ledger.PortState]bool{
		ledger.Claimed: true, ledger.Bound: true, ledger.Releasing: true, ledger.Cooldown: false, ledger.Free: false,
	} {
		t.Run(string(state), func(t *testing.T) {
			claims := &currentClaims{stale[ledger.Claim]{[]claimRecord{claimIn(ledger.ClaimReleasing, fence)}}}
			ports := &uncachedPorts{current{stale[ledger.Port]{[]portRecord{portIn(state, "")}}}}
			j := janitor.New(janitor.Config{
				Claims: claims, Ports: ports, Observer: newTestObserver().Observer, Timing: timing,
				Count: func(string, string) {}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Warn: noEvents,
			})
			if err := j.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if (len(claims.cache) == 1) != kept {
				t.Errorf("kept: %v, want %v", len(claims.cache) == 1, kept)
			}
		})
	}
}
