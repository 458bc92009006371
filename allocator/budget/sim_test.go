package budget

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// step is the grain of the simulation's true time.
const step = 50 * time.Millisecond

// exactBucket is a token bucket over true time. It stands for AWS.
type exactBucket struct {
	burst, perSecond, left Tokens
	at                     time.Duration
	worst                  Tokens // the lowest it ever was
}

func newExactBucket(burst, perSecond Tokens) *exactBucket {
	return &exactBucket{burst: burst, perSecond: perSecond, left: burst, worst: burst}
}

func (b *exactBucket) call(now time.Duration, cost Tokens) {
	b.left = b.left.Plus(b.perSecond.Times((now - b.at).Seconds())).atMost(b.burst).Minus(cost)
	b.at = now
	b.worst = b.worst.atMost(b.left)
}

func (b *exactBucket) exceeded() bool {
	return b.worst.Mutating < -1e-3 || b.worst.Registration < -1e-3 || b.worst.Describe < -1e-3 || b.worst.All < -1e-3
}

// node is a replica with its own clock and cache.
type node struct {
	// speed of its clock: 1 is right, 0 stands still.
	speed float64
	// lag is how stale its cache may be at most.
	lag         time.Duration
	version     int
	clock       Clock
	pausedUntil time.Duration
}

func (n *node) reads(now time.Duration) time.Duration { return time.Duration(float64(now) * n.speed) }

// requester wants one thing, once.
type requester struct {
	name  string
	class Class
	cost  Tokens
	// due is when it asks next, and learnedAt when it learned that it was granted.
	due, learnedAt time.Duration
	// busy is true while a write for it is in flight, and counted once such a write
	// succeeded.
	busy, counted bool
	// done is true once its permit was used. outcome is what others see of the permit.
	done    bool
	outcome PermitOutcome
	// dies is true if it makes only its first call.
	dies bool
}

// flight is a write in flight.
type flight struct {
	by       *node
	version  int
	next     State
	from, at time.Duration
	of       *requester
}

// world is a few replicas, their requesters, and AWS.
type world struct {
	rand    *rand.Rand
	limits  Limits
	now     time.Duration
	states  []State         // by version
	commits []time.Duration // by version
	nodes   []*node
	// waits are the requesters that are not done, and all maps names to every requester.
	waits   []*requester
	all     map[string]*requester
	flights []flight
	// taken is called when a request's tokens are taken, and granted when its requester
	// learns of it.
	taken, granted func(q *requester)
	// exhausted is put into Demand.
	exhausted bool
	// hasty makes creates ask all the time, whatever their hint, and the others every
	// other second, as sweeps do.
	hasty bool
	// lateness is by how much requesters may miss their hint, and flightTime how long
	// a write may take.
	lateness, flightTime time.Duration
	// lose is how often an answer is lost, 0 to 1.
	lose       float64
	lostWrites int
}

func newWorld(seed uint64, nodes ...*node) *world {
	return &world{
		rand: rand.New(rand.NewPCG(seed, 1)), all: make(map[string]*requester), limits: Default(), states: []State{{}}, commits: []time.Duration{0},
		nodes: nodes, lateness: 200 * time.Millisecond, flightTime: 100 * time.Millisecond, taken: func(*requester) {}, granted: func(*requester) {},
	}
}

func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rand.Int64N(int64(d)))
}

func (w *world) add(n int, class Class, cost Tokens) (added []*requester) {
	for range n {
		q := &requester{name: fmt.Sprintf("%s-%d", class, len(w.all)), class: class, cost: cost, due: w.now + w.upTo(time.Second)}
		w.waits = append(w.waits, q)
		w.all[q.name] = q
		added = append(added, q)
	}
	return added
}

// refresh updates a replica's cache as far as its lag allows, or completely.
func (w *world) refresh(n *node, fresh bool) {
	newest := len(w.states) - 1
	for !fresh && newest > n.version && w.commits[newest]+w.upTo(n.lag) > w.now {
		newest--
	}
	if newest > n.version || !n.clock.seen {
		n.version = newest
		n.clock.Saw(w.states[newest].Counted, n.reads(w.now))
	}
}

func (w *world) demand(s State, before *requester) (d Demand, older Tokens) {
	d.Exhausted = w.exhausted
	passed := false
	for _, q := range w.waits {
		passed = passed || q == before
		if q.done {
			continue
		}
		switch {
		case q.class == Delete:
			d.Deletes++
		case q.class == Create && !s.HasPermit(q.name):
			d.Creates = d.Creates.Plus(q.cost)
			if !passed {
				older = older.Plus(q.cost)
			}
		}
	}
	return d, older
}

func (w *world) outcomeOf(p Permit) PermitOutcome {
	return w.all[p.Claim].outcome
}

func (w *world) request(q *requester) {
	n := w.nodes[w.rand.IntN(len(w.nodes))]
	if n.pausedUntil > w.now {
		q.due = w.now + time.Second
		return
	}
	w.refresh(n, false)
	d, older := w.demand(w.states[n.version], q)
	s := w.states[n.version]
	next, wait := Take(s, w.limits, n.clock.Elapsed(s.Counted, n.reads(w.now)), Request{
		Requester: q.name, Class: q.class, Cost: q.cost, Older: older, Demand: d, Outcome: w.outcomeOf,
	})
	if wait > 0 {
		q.due = w.now + min(wait, 30*time.Second) + w.upTo(w.lateness)
		if w.hasty && q.class == Create {
			q.due = w.now
		} else if w.hasty {
			q.due = w.now + 2*time.Second
		}
		return
	}
	q.busy = true
	at := w.now + w.upTo(w.flightTime)
	if w.rand.IntN(50) == 0 {
		at += w.upTo(5 * time.Second)
	}
	w.flights = append(w.flights, flight{n, n.version, next, w.now, at, q})
}

// land completes the writes that are due.
func (w *world) land() {
	flights := w.flights
	w.flights = nil
	for _, f := range flights {
		if f.at > w.now {
			w.flights = append(w.flights, f)
			continue
		}
		f.of.busy = false
		if f.version != len(w.states)-1 {
			w.lostWrites++
			w.refresh(f.by, true)
			f.of.due = w.now
			continue
		}
		w.states, w.commits = append(w.states, f.next), append(w.commits, w.now)
		f.by.version = len(w.states) - 1
		f.by.clock.Saw(f.next.Counted, f.by.reads(f.from))
		if !f.of.counted {
			f.of.counted = true
			w.taken(f.of)
		}
		if w.rand.Float64() < w.lose { // the requester does not learn of it
			f.of.due = w.now + time.Second + w.upTo(w.lateness)
			continue
		}
		q := f.of
		q.done, q.learnedAt, q.outcome = true, w.now, PermitUsed
		if q.dies {
			q.outcome = PermitAbandoned
		}
		w.granted(q)
	}
}

// run lets time pass; each is called at every step.
func (w *world) run(until time.Duration, each func()) {
	for ; w.now < until; w.now += step {
		w.land()
		each()
		for _, n := range w.nodes {
			if n.pausedUntil <= w.now {
				w.refresh(n, false)
			}
		}
		w.waits = slices.DeleteFunc(w.waits, func(q *requester) bool { return q.done })
		w.rand.Shuffle(len(w.nodes), func(i, j int) { w.nodes[i], w.nodes[j] = w.nodes[j], w.nodes[i] })
		for _, i := range w.rand.Perm(len(w.waits)) {
			if q := w.waits[i]; !q.done && !q.busy && q.due <= w.now {
				w.request(q)
			}
		}
	}
}

// waiting counts the requesters of a class that are not done.
func (w *world) waiting(class Class) (n int) {
	for _, q := range w.waits {
		if q.class == class && !q.done {
			n++
		}
	}
	return n
}

// seeds runs a property with many seeds.
func seeds(t *testing.T, n uint64, property func(t *testing.T, seed uint64)) {
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { property(t, seed) })
	}
}

// right returns replicas whose clocks are right and whose caches are stale.
func right(n int) (nodes []*node) {
	for range n {
		nodes = append(nodes, &node{speed: 1, lag: 100 * time.Millisecond})
	}
	return nodes
}
