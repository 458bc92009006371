package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// kind is what a remote call asks.
type kind string

const (
	kindRead     kind = "ledger read"
	kindWrite    kind = "ledger write"
	kindPod      kind = "pod read"
	kindAWSRead  kind = "AWS read"
	kindAWSWrite kind = "AWS write"
	kindRequest  kind = "request" // of an agent to the allocator
	kindAnswer   kind = "answer"  // of the allocator to an agent
)

// fault is what becomes of a call.
type fault string

const (
	pass      fault = "passed"
	refused   fault = "not applied"
	lost      fault = "answer lost"
	cut       fault = "cut, on its way"
	late      fault = "applied late"
	throttled fault = "throttled"
)

// faults decides what becomes of calls. Each seed has its own weather: with the
// same rates everywhere, what needs many faults of one kind would never come.
type faults struct {
	rand *rand.Rand
	// on is whether there are faults at all.
	on bool
	// rates has how many calls of a thousand end so.
	rates map[fault]int
	slow  int // of a thousand, how many take long
	// partitioned has until when no call of a process and kind gets through.
	partitioned map[string]time.Time
	counts      map[string]int
}

func newFaults(r *rand.Rand) *faults {
	f := &faults{rand: r, on: true, rates: make(map[fault]int), partitioned: make(map[string]time.Time), counts: make(map[string]int)}
	for _, one := range []fault{refused, lost, cut, throttled} {
		f.rates[one] = []int{0, 5, 20, 60}[r.IntN(4)]
	}
	f.slow = []int{0, 10, 50}[r.IntN(3)]
	return f
}

// latency is how long a call is on its way before it can be applied.
func (f *faults) latency(k kind) time.Duration {
	d := time.Millisecond + time.Duration(f.rand.IntN(20_000))*time.Microsecond
	if f.on && k != kindAnswer && f.rand.IntN(1000) < f.slow {
		d += time.Duration(f.rand.IntN(30_000)) * time.Millisecond
	}
	return d
}

// flight is how much longer a call is on its way that nobody waits for any more:
// a connection's last retransmission, a proxy's or server's queue.
func (f *faults) flight() time.Duration {
	if f.rand.IntN(3) == 0 {
		return time.Duration(f.rand.IntN(60_000)) * time.Millisecond
	}
	return time.Duration(f.rand.IntN(2_000)) * time.Millisecond
}

func partitionKey(p *Process, k kind) string { return p.name + " " + string(k) }

// partition cuts a process off from what calls of some kinds ask.
func (f *faults) partition(p *Process, until time.Time, kinds ...kind) {
	for _, k := range kinds {
		f.partitioned[partitionKey(p, k)] = until
	}
}

func (f *faults) choose(c *call) fault {
	if !f.on {
		return pass
	}
	if time.Now().Before(f.partitioned[partitionKey(c.process, c.kind)]) {
		return refused
	}
	n := f.rand.IntN(1000)
	for _, one := range []fault{refused, lost, cut, throttled} {
		if n -= f.rates[one]; n >= 0 {
			continue
		}
		switch {
		case one == throttled && c.throttled == nil:
			return pass
		case c.kind == kindAnswer:
			return refused // whatever happens to an answer, it does not arrive
		case one == cut && (c.kind == kindRead || c.kind == kindPod || c.kind == kindAWSRead):
			return lost // a read that is applied later is applied for nobody
		case one == lost && c.kind == kindRequest:
			return pass // the answer may be lost on its own
		}
		return one
	}
	return pass
}

func (f *faults) count(k kind, one fault) { f.counts[fmt.Sprintf("%-12s %s", k, one)]++ }

func showCounts(counts map[string]int) string {
	var lines []string
	for what, n := range counts {
		lines = append(lines, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
