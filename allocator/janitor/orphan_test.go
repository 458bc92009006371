package janitor_test

import (
	"context"
	"slices"
	"testing"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const orphanARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/pl-orphan/0123456789abcdef"

// orphanAWS is AWS with one target group that no lease accounts for.
type orphanAWS struct {
	tags    map[string]string
	hidden  bool
	deleted []string
	// deregistered are the target groups whose targets were deregistered.
	deregistered []string
}

func (s *orphanAWS) TargetGroups(context.Context) ([]elb.TargetGroup, error) {
	if s.hidden || len(s.deleted) > 0 {
		return nil, nil
	}
	return []elb.TargetGroup{{ARN: orphanARN, Name: elb.TargetGroupName(ledgerID, fence)}}, nil
}

func (s *orphanAWS) Tags(context.Context, ...string) (map[string]map[string]string, error) {
	return map[string]map[string]string{orphanARN: s.tags}, nil
}

func (s *orphanAWS) DeregisterTargets(_ context.Context, arn string, _ []elb.Target) error {
	s.deregistered = append(s.deregistered, arn)
	return nil
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

// uncachedPorts is a table of ports whose cache is empty.
type uncachedPorts struct{ *current[ledger.Port] }

func (*uncachedPorts) CachedAll() []*portRecord { return nil }

func (*uncachedPorts) Cached(string) (portRecord, bool) { return portRecord{}, false }

// auditor returns a janitor that audits an orphan. pod is what it reads of the orphan's
// pod.
func auditor(s *orphanAWS, pod *ledger.Pod, claims ...claimRecord) *janitor.Janitor {
	return auditorOf(s, currentTable[ledger.Port](), pod, claims...)
}

func auditorOf(s *orphanAWS, ports ledger.Ports, pod *ledger.Pod, claims ...claimRecord) *janitor.Janitor {
	s.tags = elb.Tags{
		Ledger: ledgerID, Namespace: "games", Pod: "game-0", PodUID: "1",
		Lease: fence.Lease, Epoch: fence.Epoch, Generation: fence.Generation,
	}.Map()
	c := newConfig(newTestObserver(), currentTable(claims...), ports)
	c.AWS, c.ReserveDeletions, c.Warn = s, alwaysGranted, noEvents
	c.GetPod = func(context.Context, string, string) (*ledger.Pod, error) { return pod, nil }
	return janitor.New(c)
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

// The sightings must be in a row. A single listing may be older or newer than the loss of
// the lease.
func TestOrphanIsDeletedAtTheThirdSighting(t *testing.T) {
	var s orphanAWS
	j := auditor(&s, nil)
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
			port := portIn(state, "")
			port.Value.PodUID = "1"
			ports := &uncachedPorts{currentTable(port)}
			if n := deletedIn(t, auditorOf(&s, ports, nil), &s, 10); n != want {
				t.Errorf("deleted in audit %d, want %d", n, want)
			}
		})
	}
}

// A claim that lists the fence keeps a binding whose port lease was lost: the lease is restored
// and then released, if need be. So does a pod
// that may still have it adopted; it has many audits' time for that.
func TestOrphanThatALivePodMayHaveAdoptedIsKept(t *testing.T) {
	alive := &ledger.Pod{UID: "1"}
	other := api.Fence{Lease: "lb-30001", Epoch: "e", Generation: 1}
	for _, test := range []struct {
		name   string
		pod    *ledger.Pod
		claims []claimRecord
		want   int
	}{
		{"no claim", alive, nil, 0},
		{"a waiting claim", alive, []claimRecord{claimIn(ledger.Waiting)}, 3},
		{"a waiting claim that lists it", alive, []claimRecord{claimIn(ledger.Waiting, fence)}, 0},
		{"a releasing claim that lists it", alive, []claimRecord{claimIn(ledger.ClaimReleasing, fence)}, 0},
		{"a claim that lists it", alive, []claimRecord{claimIn(ledger.Granted, fence)}, 0},
		{"a claim with another port", alive, []claimRecord{claimIn(ledger.Granted, other)}, 3},
		{"a later pod of that name", &ledger.Pod{UID: "2"}, nil, 3},
		{"a terminal pod", &ledger.Pod{UID: "1", Terminal: true}, nil, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s orphanAWS
			if n := deletedIn(t, auditor(&s, test.pod, test.claims...), &s, 10); n != test.want {
				t.Errorf("deleted in audit %d, want %d", n, test.want)
			}
		})
	}
}
