package janitor

import (
	"errors"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// unbinding is how far this process has come with the binding of one releasing port.
type unbinding struct {
	// due is when the next step may be made.
	due time.Time
	// backOff is how long it was put off after the last failure; 0 if there was none.
	backOff time.Duration
	// inspected is when AWS was asked what there is of the binding; zero if it must be asked.
	inspected time.Time
	// of is the holding that was inspected, or that is over.
	of holding
	// group is its target group, and listeners are its own listeners that are still there.
	group     string
	listeners []string
	// tried is whether a deletion was made.
	tried bool
	// over is whether nothing is left to do for that holding. The cache may not show that yet.
	over bool
}

// holding is one pod's turn on a port, with the target group that its lease records.
type holding struct {
	fence api.Fence
	group string
}

func holdingOf(r ledger.Record[ledger.Port]) holding {
	return holding{r.Value.Fence(r.Name), r.Value.TargetGroupARN}
}

const (
	firstRetry = 2 * time.Second
	lastRetry  = 20 * time.Second
)

// unbindingOf begins with the binding of a port if nothing is known of it yet, or only of an
// earlier holding: while another replica led, the port may have had other holders.
func (j *Janitor) unbindingOf(lease string) *unbinding {
	u := j.unbindings[lease]
	cached, _ := j.Ports.Cached(lease)
	later := cached.Value.State == ledger.Releasing && u != nil && u.over && u.of != holdingOf(cached)
	if u == nil || later {
		u = &unbinding{due: j.Now()}
		j.unbindings[lease] = u
	}
	return u
}

// failed puts the next attempt off, ever longer. It begins with a new inspection.
func (u *unbinding) failed(now time.Time, err error) {
	u.backOff = backOff(u.backOff, err)
	u.due, u.inspected = now.Add(u.backOff), time.Time{}
}

// inUse puts the next attempt off by a whole window at least. AWS says that a listener forwards
// to the target group, or did a moment ago; so a new inspection comes first.
func (u *unbinding) inUse(now time.Time, window time.Duration) {
	u.failed(now, nil)
	u.due = now.Add(max(window, u.backOff))
}

// backOff is the wait after a failure that follows on one with the given wait. Every attempt
// costs a call.
func backOff(last time.Duration, err error) time.Duration {
	if errors.Is(err, errDryRun) {
		return dryRunRetry
	}
	return min(max(2*last, firstRetry), lastRetry)
}
