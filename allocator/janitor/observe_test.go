package janitor_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
)

func (w *testObserver) want(t *testing.T, name, version string, age time.Duration) {
	t.Helper()
	if got := w.Age(name, version); got != age {
		t.Errorf("%s@%s is %v old, want %v", name, version, got, age)
	}
}

func claimAt(name, version string) claimRecord { return claimRecord{Name: name, Version: version} }

// port is observed together with the claims.
var port = portRecord{Name: "p", Version: "1"}

func TestAgeIsHowLongAVersionWasObserved(t *testing.T) {
	w := newTestObserver()
	w.want(t, "c", "1", 0)
	w.sees(pointers(claimAt("c", "1")), pointers(port), time.Hour)
	w.want(t, "c", "1", 0) // time before the process started does not count
	w.want(t, "p", "1", 0)
	w.now = w.now.Add(10 * time.Second)
	w.want(t, "c", "1", 10*time.Second) // time passes between two observations
	w.sees(pointers(claimAt("c", "1")), pointers(port), 10*time.Second)
	w.want(t, "c", "1", 20*time.Second)
	w.want(t, "p", "1", 20*time.Second)
}

func TestNewVersionHasAgeZero(t *testing.T) {
	w := newTestObserver()
	w.sees(pointers(claimAt("c", "1"), claimAt("still", "1")), pointers(port), 0)
	w.sees(pointers(claimAt("c", "2"), claimAt("still", "1")), pointers(port), time.Minute)
	w.want(t, "c", "2", 0)
	w.want(t, "c", "1", 0) // a version that is gone has no age
	w.want(t, "c", "3", 0) // nor has one that was not observed yet
	w.want(t, "still", "1", time.Minute)
	w.want(t, "p", "1", time.Minute)
	w.now = w.now.Add(time.Second)
	w.want(t, "c", "2", time.Second)
	w.want(t, "c", "3", 0)
	// If a version came back, it would not be the one observed before.
	w.sees(pointers(claimAt("c", "1")), nil, time.Minute)
	w.want(t, "c", "1", 0)
}

func TestAbsentLeaseIsForgotten(t *testing.T) {
	w := newTestObserver()
	w.sees(pointers(claimAt("c", "1")), pointers(port), 0)
	w.sees(nil, nil, time.Hour)
	w.want(t, "c", "1", 0)
	w.want(t, "p", "1", 0)
	w.sees(pointers(claimAt("c", "1")), pointers(port), time.Hour)
	w.want(t, "c", "1", 0)
	w.want(t, "p", "1", 0)
}

func TestNothingExpiresWithinOneDurationAfterStart(t *testing.T) {
	w := newTestObserver()
	claims := pointers(claimIn("granted"))
	claims[0].Value.RenewedAt = w.now.Add(-24 * time.Hour) // remote clocks do not count
	for at := time.Duration(0); at < duration; at += 10 * time.Second {
		w.Observe(claims, nil)
		if plan := janitor.Plan(claims, nil, w.Age, timing); len(plan) > 0 {
			t.Fatalf("after %v: %v", at, plan)
		}
		w.now = w.now.Add(10 * time.Second)
	}
	if plan := janitor.Plan(claims, nil, w.Age, timing); len(plan) != 1 || plan[0].Kind != janitor.CheckExpiry {
		t.Errorf("after %v: %v", duration, plan)
	}
}

// TestObservingAgainAllocatesNothing: it happens twice a second, for every lease.
func TestObservingAgainAllocatesNothing(t *testing.T) {
	w := newTestObserver()
	claims, ports := pointers(claimAt("c", "1"), claimAt("d", "1")), pointers(port)
	ports[0].Value.TargetGroupARN = "group"
	w.Observe(claims, ports)
	if n := testing.AllocsPerRun(10, func() { w.Observe(claims, ports) }); n > 0 {
		t.Errorf("it allocates %v times", n)
	}
}
