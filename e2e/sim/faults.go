package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// kind is the kind of a remote call.
type kind string

const (
	kindRead     kind = "ledger read"
	kindWrite    kind = "ledger write"
	kindPod      kind = "pod read"
	kindReview   kind = "token review"
	kindAWSRead  kind = "AWS read"
	kindAWSWrite kind = "AWS write"
	kindRequest  kind = "request" // of an agent to the allocator
	kindAnswer   kind = "answer"  // of the allocator to an agent
)

// fault is the outcome of a call.
type fault string

const (
	pass      fault = "passed"
	refused   fault = "not applied"
	lost      fault = "answer lost"
	cut       fault = "cut"
	late      fault = "applied late"
	throttled fault = "throttled"
	failed    fault = "failed by AWS"
	slow      fault = "slow" // in addition to any other
	hanging   fault = "hanging"
)

// faults decides the outcome of calls. Each seed has its own rates: with equal rates
// a run with many faults of one kind would never occur.
type faults struct {
	// on is whether there are faults at all.
	on bool
	// rates is how many calls of a thousand have a fault.
	rates map[fault]int
	// partitioned is until when no call of a process and kind gets through.
	partitioned map[string]time.Time
	// unlisted is until when AWS fails to list a load balancer's listeners.
	unlisted map[string]time.Time
	// hangs is until when AWS answers no call.
	hangs time.Time
	// refuses is until when AWS fails every call, and slowWrites until when each write of
	// a Lease takes long. Both are independent of on.
	refuses, slowWrites time.Time
	// storm is until when AWS throttles most reads.
	storm time.Time
	// denied are the names of the pods whose agents AWS denies every change.
	denied map[string]bool
	counts map[string]int
}

// ratedFaults are the faults that each seed has at its own rate, in the order in which
// a call is tried for them.
var ratedFaults = []fault{refused, lost, cut, throttled}

// newFaults draws the rates of a seed. The kinds in without get a rate of 0.
func newFaults(r *rand.Rand, without []string) *faults {
	f := &faults{
		on: true, rates: make(map[fault]int), partitioned: make(map[string]time.Time), unlisted: make(map[string]time.Time),
		counts: make(map[string]int),
	}
	for _, one := range ratedFaults {
		f.rates[one] = []int{0, 5, 20, 60}[r.IntN(4)]
	}
	f.rates[slow] = []int{0, 10, 50}[r.IntN(3)]
	for _, one := range without {
		f.rates[fault(one)] = 0
	}
	return f
}

// latency is how long a call takes to arrive.
func (f *faults) latency(c *call) time.Duration {
	d := time.Millisecond + time.Duration(c.random.IntN(20_000))*time.Microsecond
	if c.kind == kindWrite && time.Now().Before(f.slowWrites) {
		d = 60*time.Millisecond + time.Duration(c.random.IntN(190_000))*time.Microsecond
	}
	if f.on && c.kind != kindAnswer && c.random.IntN(1000) < f.rates[slow] {
		d += time.Duration(c.random.IntN(30_000)) * time.Millisecond
		f.count(c.kind, slow)
	}
	if hangs := time.Until(f.hangs); f.on && hangs > 0 && (c.kind == kindAWSRead || c.kind == kindAWSWrite) {
		d += hangs
		f.count(c.kind, hanging)
	}
	return d
}

// flight is how much later an abandoned call arrives: a last retransmission, or the
// queue of a proxy or server.
func flight(c *call) time.Duration {
	if c.random.IntN(3) == 0 {
		return time.Duration(c.random.IntN(60_000)) * time.Millisecond
	}
	return time.Duration(c.random.IntN(2_000)) * time.Millisecond
}

func partitionKey(p *Process, k kind) string { return p.name + " " + string(k) }

// partition makes calls of some kinds fail for a process.
func (f *faults) partition(p *Process, until time.Time, kinds ...kind) {
	for _, k := range kinds {
		f.partitioned[partitionKey(p, k)] = until
	}
}

func (f *faults) choose(c *call) fault {
	now := time.Now()
	switch {
	case f.denies(c):
		return denied
	case now.Before(f.refuses) && (c.kind == kindAWSRead || c.kind == kindAWSWrite):
		return failed
	case !f.on:
		return pass
	case now.Before(f.partitioned[partitionKey(c.process, c.kind)]):
		return refused
	case c.listed != "" && now.Before(f.unlisted[c.listed]):
		return failed
	case c.kind == kindAWSRead && now.Before(f.storm) && c.random.IntN(3) > 0:
		return throttled
	}
	n := c.random.IntN(1000)
	for _, one := range ratedFaults {
		if n -= f.rates[one]; n >= 0 {
			continue
		}
		switch {
		case one == throttled && c.refusal == nil:
			return pass
		case c.kind == kindAnswer:
			return refused // an answer with any fault does not arrive
		case one == cut && (c.kind == kindRead || c.kind == kindPod || c.kind == kindReview || c.kind == kindAWSRead):
			return lost // a read that is applied later has no effect
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
