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

// judge is an exact token bucket over true time: AWS, as far as it is known.
type judge struct {
	burst, perSecond, left Tokens
	at                     time.Duration
	worst                  Tokens // the lowest it ever was
}

func newJudge(burst, perSecond Tokens) *judge {
	return &judge{burst: burst, perSecond: perSecond, left: burst, worst: burst}
}

func (j *judge) call(now time.Duration, cost Tokens) {
	j.left = j.left.Plus(j.perSecond.Times((now - j.at).Seconds())).atMost(j.burst).Minus(cost)
	j.at = now
	j.worst = j.worst.atMost(j.left)
}

func (j *judge) exceeded() bool {
	return j.worst.Mutating < -1e-3 || j.worst.Registration < -1e-3 || j.worst.All < -1e-3
}

// node is a replica with a clock and a view of its own.
type node struct {
	// speed of its clock: 1 is right, 0 stands still.
	speed float64
	// lag is how late its view may be at most.
	lag         time.Duration
	version     int
	sense       Clock
	pausedUntil time.Duration
}

func (n *node) reads(now time.Duration) time.Duration { return time.Duration(float64(now) * n.speed) }

// asker wants one thing, once.
type asker struct {
	who   string
	class Class
	cost  Tokens
	// due is when it asks next; done when its permit was used; fate what others
	// see of it.
	due, paidAt time.Duration
	busy, done  bool
	counted     bool
	fate        Fate
	dies        bool
}

// flight is a write on its way.
type flight struct {
	by       *node
	version  int
	next     State
	from, at time.Duration
	ask      *asker
}

// world is a few replicas, who asks them, and AWS.
type world struct {
	rand    *rand.Rand
	limits  Limits
	now     time.Duration
	states  []State         // by version
	commits []time.Duration // by version
	nodes   []*node
	askers  []*asker
	// all has those that are done too.
	all     map[string]*asker
	flights []flight
	// taken is told of each permit when its tokens are taken, paid when its asker
	// has learned of it.
	taken, paid func(a *asker)
	// exhausted is what demand says.
	exhausted bool
	// hasty creates ask all the time, whatever they are told, and the others every
	// other second, as sweeps do.
	hasty bool
	// lateness is how much later than told askers come at most; lose is how often
	// an answer is lost; flightTime is how long a write takes at most.
	lateness, flightTime time.Duration
	lose                 float64
	lostWrites           int
}

func newWorld(seed uint64, nodes ...*node) *world {
	return &world{
		rand: rand.New(rand.NewPCG(seed, 1)), all: make(map[string]*asker), limits: Default(), states: []State{{}}, commits: []time.Duration{0},
		nodes: nodes, lateness: 200 * time.Millisecond, flightTime: 100 * time.Millisecond, taken: func(*asker) {}, paid: func(*asker) {},
	}
}

func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rand.Int64N(int64(d)))
}

func (w *world) add(n int, class Class, cost Tokens) (added []*asker) {
	for range n {
		a := &asker{who: fmt.Sprintf("%s-%d", class, len(w.all)), class: class, cost: cost, due: w.now + w.upTo(time.Second)}
		w.askers = append(w.askers, a)
		w.all[a.who] = a
		added = append(added, a)
	}
	return added
}

// look updates a replica's view: to what the lag lets through, or all there is.
func (w *world) look(n *node, fresh bool) {
	newest := len(w.states) - 1
	for !fresh && newest > n.version && w.commits[newest]+w.upTo(n.lag) > w.now {
		newest--
	}
	if newest > n.version || !n.sense.seen {
		n.version = newest
		n.sense.Saw(w.states[newest].Counted, n.reads(w.now))
	}
}

func (w *world) demand(s State, before *asker) (d Demand, ahead Tokens) {
	d.Exhausted = w.exhausted
	met := false
	for _, a := range w.askers {
		met = met || a == before
		if a.done {
			continue
		}
		switch {
		case a.class == Delete:
			d.Deletes++
		case a.class == Create && !s.HasPermit(a.who):
			d.Creates = d.Creates.Plus(a.cost)
			if !met {
				ahead = ahead.Plus(a.cost)
			}
		}
	}
	return d, ahead
}

func (w *world) fateOf(who string) Fate {
	return w.all[who].fate
}

func (w *world) ask(a *asker) {
	n := w.nodes[w.rand.IntN(len(w.nodes))]
	if n.pausedUntil > w.now {
		a.due = w.now + time.Second
		return
	}
	w.look(n, false)
	d, ahead := w.demand(w.states[n.version], a)
	s := w.states[n.version]
	next, wait := Take(s, w.limits, n.sense.Elapsed(s.Counted, n.reads(w.now)), Ask{
		Who: a.who, Class: a.class, Cost: a.cost, Ahead: ahead, Demand: d, Fate: w.fateOf,
	})
	if wait > 0 {
		a.due = w.now + min(wait, 30*time.Second) + w.upTo(w.lateness)
		if w.hasty && a.class == Create {
			a.due = w.now
		} else if w.hasty {
			a.due = w.now + 2*time.Second
		}
		return
	}
	a.busy = true
	at := w.now + w.upTo(w.flightTime)
	if w.rand.IntN(50) == 0 {
		at += w.upTo(5 * time.Second)
	}
	w.flights = append(w.flights, flight{n, n.version, next, w.now, at, a})
}

// land ends the writes that are due.
func (w *world) land() {
	flights := w.flights
	w.flights = nil
	for _, f := range flights {
		if f.at > w.now {
			w.flights = append(w.flights, f)
			continue
		}
		f.ask.busy = false
		if f.version != len(w.states)-1 {
			w.lostWrites++
			w.look(f.by, true)
			f.ask.due = w.now
			continue
		}
		w.states, w.commits = append(w.states, f.next), append(w.commits, w.now)
		f.by.version = len(w.states) - 1
		f.by.sense.Saw(f.next.Counted, f.by.reads(f.from))
		if !f.ask.counted {
			f.ask.counted = true
			w.taken(f.ask)
		}
		if w.rand.Float64() < w.lose { // the asker does not learn of it
			f.ask.due = w.now + time.Second + w.upTo(w.lateness)
			continue
		}
		a := f.ask
		a.done, a.paidAt, a.fate = true, w.now, Spent
		if a.dies {
			a.fate = Gone
		}
		w.paid(a)
	}
}

// run lets time pass; each is called at every step.
func (w *world) run(until time.Duration, each func()) {
	for ; w.now < until; w.now += step {
		w.land()
		each()
		for _, n := range w.nodes {
			if n.pausedUntil <= w.now {
				w.look(n, false)
			}
		}
		w.askers = slices.DeleteFunc(w.askers, func(a *asker) bool { return a.done })
		w.rand.Shuffle(len(w.nodes), func(i, j int) { w.nodes[i], w.nodes[j] = w.nodes[j], w.nodes[i] })
		for _, i := range w.rand.Perm(len(w.askers)) {
			if a := w.askers[i]; !a.done && !a.busy && a.due <= w.now {
				w.ask(a)
			}
		}
	}
}

// waiting is how many of a class are not done.
func (w *world) waiting(class Class) (n int) {
	for _, a := range w.askers {
		if a.class == class && !a.done {
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

// right are replicas whose clocks are right and whose views are late.
func right(n int) (nodes []*node) {
	for range n {
		nodes = append(nodes, &node{speed: 1, lag: 100 * time.Millisecond})
	}
	return nodes
}
