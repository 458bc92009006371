package sim

import "time"

// Limits of one Kubernetes client of the allocator, as allocator/app has them.
const (
	clientPerSecond = 500
	clientBurst     = 1000
	// clientStreams is how many calls a connection to the API server carries at a time:
	// the default of net/http2, which the API server keeps.
	clientStreams = 250
)

// gate is the rate limiter and the connection of one client. Calls pass in the order in
// which they came.
type gate struct {
	// paid is when the rate limiter has regained all tokens.
	paid time.Time
	// ends are when the calls in flight end, the first one first.
	ends queue[time.Time]
}

func newGate() *gate {
	return &gate{ends: queue[time.Time]{before: time.Time.Before, moved: func(time.Time, int) {}}}
}

// admit returns when a call ends that is made now and takes a time once it is in flight.
func (g *gate) admit(now time.Time, takes time.Duration) time.Time {
	const each = time.Second / clientPerSecond
	start := now
	if g.paid.Before(now) {
		g.paid = now
	}
	g.paid = g.paid.Add(each)
	if paid := g.paid.Add(-clientBurst * each); paid.After(start) {
		start = paid
	}
	for first, ok := g.ends.first(); ok && !first.After(now); first, ok = g.ends.first() {
		g.ends.remove(0)
	}
	if first, full := g.ends.first(); full && g.ends.Len() >= clientStreams {
		g.ends.remove(0)
		if first.After(start) {
			start = first
		}
	}
	end := start.Add(takes)
	g.ends.add(end)
	return end
}

// gateOf returns the gate that a call of a kind goes through; nil for none.
func (p *Process) gateOf(k kind) *gate {
	switch {
	case p.main == nil:
		return nil
	case k == kindReview:
		return p.reviews
	case k == kindRead || k == kindWrite || k == kindPod:
		return p.main
	}
	return nil
}
