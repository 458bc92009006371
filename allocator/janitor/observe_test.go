package janitor_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
)

// watch is an observer with a clock that the test moves.
type watch struct {
	*janitor.Observer
	now time.Time
}

func newWatch() *watch {
	w := &watch{now: time.Now()}
	w.Observer = janitor.NewObserver(func() time.Time { return w.now })
	return w
}

func (w *watch) sees(claims []claimRecord, ports []portRecord, after time.Duration) {
	w.now = w.now.Add(after)
	w.Observe(claims, ports)
}

func (w *watch) want(t *testing.T, name, version string, age time.Duration) {
	t.Helper()
	if got := w.Age(name, version); got != age {
		t.Errorf("%s@%s is %v old, want %v", name, version, got, age)
	}
}

func claimAt(name, version string) claimRecord { return claimRecord{Name: name, Version: version} }

// port is the one port that observers see beside the claims.
var port = portRecord{Name: "p", Version: "1"}

func TestAgeIsTimeSeenUnchanged(t *testing.T) {
	w := newWatch()
	w.want(t, "c", "1", 0)
	w.sees([]claimRecord{claimAt("c", "1")}, []portRecord{port}, time.Hour)
	w.want(t, "c", "1", 0) // whatever happened before the process started
	w.want(t, "p", "1", 0)
	w.now = w.now.Add(10 * time.Second)
	w.want(t, "c", "1", 10*time.Second) // it runs on between two looks
	w.sees([]claimRecord{claimAt("c", "1")}, []portRecord{port}, 10*time.Second)
	w.want(t, "c", "1", 20*time.Second)
	w.want(t, "p", "1", 20*time.Second)
}

func TestAChangeOfVersionStartsAnew(t *testing.T) {
	w := newWatch()
	w.sees([]claimRecord{claimAt("c", "1"), claimAt("still", "1")}, []portRecord{port}, 0)
	w.sees([]claimRecord{claimAt("c", "2"), claimAt("still", "1")}, []portRecord{port}, time.Minute)
	w.want(t, "c", "2", 0)
	w.want(t, "c", "1", 0) // what is not there any more has no age to act on
	w.want(t, "c", "3", 0) // nor what has not been observed yet
	w.want(t, "still", "1", time.Minute)
	w.want(t, "p", "1", time.Minute)
	w.now = w.now.Add(time.Second)
	w.want(t, "c", "2", time.Second)
	w.want(t, "c", "3", 0)
	// A version never comes back, but if one does it is not the one seen before.
	w.sees([]claimRecord{claimAt("c", "1")}, nil, time.Minute)
	w.want(t, "c", "1", 0)
}

func TestWhatIsGoneIsForgotten(t *testing.T) {
	w := newWatch()
	w.sees([]claimRecord{claimAt("c", "1")}, []portRecord{port}, 0)
	w.sees(nil, nil, time.Hour)
	w.want(t, "c", "1", 0)
	w.want(t, "p", "1", 0)
	w.sees([]claimRecord{claimAt("c", "1")}, []portRecord{port}, time.Hour)
	w.want(t, "c", "1", 0)
	w.want(t, "p", "1", 0)
}

func TestAFreshProcessGrantsOneFullDuration(t *testing.T) {
	w := newWatch()
	claims := []claimRecord{claimIn("granted")}
	claims[0].Value.RenewedAt = w.now.Add(-24 * time.Hour) // no remote timestamp counts
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
