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
	cut       fault = "cut"
	late      fault = "applied late"
	throttled fault = "throttled"
	failed    fault = "failed by AWS"
	slow      fault = "slow" // and yet it passes, or not
)

// faults decides what becomes of calls. Each seed has its own weather: with the
// same rates everywhere, what needs many faults of one kind would never come.
type faults struct {
	// on is whether there are faults at all.
	on bool
	// rates has how many calls of a thousand end so.
	rates map[fault]int
	// partitioned has until when no call of a process and kind gets through.
	partitioned map[string]time.Time
	// unlisted has until when AWS fails to list a load balancer's listeners.
	unlisted map[string]time.Time
	// storm is until when AWS throttles most reads.
	storm  time.Time
	counts map[string]int
}

// weather are the faults that each seed has at a rate of its own, in the order
// that decides which one a call meets.
var weather = []fault{refused, lost, cut, throttled}

// newFaults makes the weather of a seed, except for the kinds that it is to be
// without.
func newFaults(r *rand.Rand, without []string) *faults {
	f := &faults{
		on: true, rates: make(map[fault]int), partitioned: make(map[string]time.Time), unlisted: make(map[string]time.Time),
		counts: make(map[string]int),
	}
	for _, one := range weather {
		f.rates[one] = []int{0, 5, 20, 60}[r.IntN(4)]
	}
	f.rates[slow] = []int{0, 10, 50}[r.IntN(3)]
	for _, one := range without {
		f.rates[fault(one)] = 0
	}
	return f
}

// latency is how long a call is on its way before it can be applied.
func (f *faults) latency(c *call) time.Duration {
	d := time.Millisecond + time.Duration(c.luck.IntN(20_000))*time.Microsecond
	if f.on && c.kind != kindAnswer && c.luck.IntN(1000) < f.rates[slow] {
		d += time.Duration(c.luck.IntN(30_000)) * time.Millisecond
		f.count(c.kind, slow)
	}
	return d
}

// flight is how much longer a call is on its way that nobody waits for any more:
// a connection's last retransmission, a proxy's or server's queue.
func flight(c *call) time.Duration {
	if c.luck.IntN(3) == 0 {
		return time.Duration(c.luck.IntN(60_000)) * time.Millisecond
	}
	return time.Duration(c.luck.IntN(2_000)) * time.Millisecond
}

func partitionKey(p *Process, k kind) string { return p.name + " " + string(k) }

// partition cuts a process off from what calls of some kinds ask.
func (f *faults) partition(p *Process, until time.Time, kinds ...kind) {
	for _, k := range kinds {
		f.partitioned[partitionKey(p, k)] = until
	}
}

func (f *faults) choose(c *call) fault {
	now := time.Now()
	switch {
	case !f.on:
		return pass
	case now.Before(f.partitioned[partitionKey(c.process, c.kind)]):
		return refused
	case c.listed != "" && now.Before(f.unlisted[c.listed]):
		return failed
	case c.kind == kindAWSRead && now.Before(f.storm) && c.luck.IntN(3) > 0:
		return throttled
	}
	n := c.luck.IntN(1000)
	for _, one := range weather {
		if n -= f.rates[one]; n >= 0 {
			continue
		}
		switch {
		case one == throttled && c.refusal == nil:
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
