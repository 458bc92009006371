package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/invariants"
)

// Day is what happens in the day of a large installation.
type Day struct {
	// Pods are created within Start, and stay that many until the end.
	Pods          int
	Length, Start time.Duration
	// Every is how often a pod is stopped, crashes or is lost, on average.
	Every time.Duration
	// Kill is how often the leader is killed.
	Kill time.Duration
	// Slow is when each write of a Lease takes long, and Refused when AWS fails every call.
	Slow, Refused Span
	// Rest is how long nothing happens at the end.
	Rest time.Duration
	// Until ends the run early, without the final checks; 0 for the whole day.
	Until time.Duration
	// Check is how often everything is checked, and Tell is called then.
	Check time.Duration
	Tell  func(Progress)
}

// Span is a time since the beginning, and its length.
type Span struct{ From, For time.Duration }

// Progress is how far a day is.
type Progress struct {
	At             time.Duration
	Steps          int
	Bound, Waiting int
}

// dayEvents are what happens to pods, with the weight of each.
var dayEvents = []eventKind{
	{name: "stop", weight: 50, run: onPod(func(w *World, p *pod) { w.replace(p, w.stopPod) })},
	{name: "crash", weight: 15, run: onPod((*World).crash)},
	{name: "delete by force", weight: 10, run: onPod(func(w *World, p *pod) { w.replace(p, func(p *pod) { w.forceDelete(p, 150*time.Second) }) })},
	{name: "lose pod", weight: 10, run: onPod(func(w *World, p *pod) { w.replace(p, func(p *pod) { w.loseNode(p, 200*time.Second) }) })},
	{name: "fail", weight: 10, run: onPod(func(w *World, p *pod) { w.replace(p, w.fail) })},
	{name: "recreate", weight: 5, run: onPod((*World).recreateOnce)},
	{name: "lose node", weight: 1, run: (*World).loseWholeNode},
}

// podsOfNode is how many pods a node has.
const podsOfNode = 10

// replace removes a pod and creates another one, as a ReplicaSet does.
func (w *World) replace(p *pod, remove func(*pod)) {
	if p.leaving {
		return
	}
	remove(p)
	w.createPod()
}

// recreateOnce deletes a pod, which is recreated under its name, as by a StatefulSet.
func (w *World) recreateOnce(p *pod) {
	if p.leaving {
		return
	}
	p.again = 1
	w.stopPod(p)
}

func (w *World) loseWholeNode() {
	w.trace.add("-- a node with %d pods is lost", podsOfNode)
	for range podsOfNode {
		if p, ok := pick(w.cause, w.all, func(p *pod) string { return p.uid }); ok {
			w.replace(p, func(p *pod) { w.loseNode(p, 200*time.Second) })
		}
	}
}

// killLeader kills the leader, and starts it again when another leads.
func (w *World) killLeader() {
	for _, r := range w.replicas {
		if w.leads(r) {
			w.disturb(3 * leaderTimeout)
			w.trace.add("-- leader %s is killed", r.name)
			w.restartAfter(r, 2*leaderTimeout)
			return
		}
	}
}

// causeOf is an event of the day.
func (w *World) causeOf(number int, name string) {
	w.cause = &cause{Rand: randomFor(w.config.Seed, fmt.Sprint("day ", name, number)), number: number}
	w.eventCounts[name]++
	w.trace.add("== %d: %s", number, name)
}

// runDay lets a day pass.
func (w *World) runDay() error {
	d := w.config.Day
	w.faults.on = false
	w.planDay()
	for number, busy := d.Pods, false; w.now() < d.Length; {
		if err := w.runFor(d.Check); err != nil {
			return err
		}
		w.violate(w.judge.always())
		if err := errors.Join(w.errs...); err != nil {
			return err
		}
		bound := w.tell()
		if d.Until > 0 && w.now() >= d.Until {
			return nil
		}
		if !busy && bound == d.Pods {
			busy = true
			w.day.allBound = w.now()
			w.churn(&number)
		}
	}
	return errors.Join(w.judge.atRest(), w.judge.departed())
}

// now is the time since the beginning.
func (w *World) now() time.Duration { return time.Since(w.trace.start) }

// planDay plans the first pods and the disturbances.
func (w *World) planDay() {
	d := w.config.Day
	for n := range d.Pods {
		w.causeOf(n+1, "create")
		w.after(w.cause.span(d.Start), w.createPod)
	}
	w.after(d.Slow.From, func() {
		w.trace.add("-- each write of a Lease takes long for %v", d.Slow.For)
		w.disturb(d.Slow.For)
		w.faults.slowWrites = time.Now().Add(d.Slow.For)
	})
	w.after(d.Refused.From, func() {
		w.trace.add("-- AWS fails every call for %v", d.Refused.For)
		w.disturb(3 * d.Refused.For)
		w.faults.refuses = time.Now().Add(d.Refused.For)
	})
	for at := d.Kill; at < d.Length-d.Rest; at += d.Kill {
		w.after(at, w.killLeader)
	}
}

// churn lets the next event happen, and those after it until the end.
func (w *World) churn(number *int) {
	d := w.config.Day
	if w.now() >= d.Length-d.Rest {
		return
	}
	*number++
	n := randomFor(w.config.Seed, fmt.Sprint("day ", *number))
	kind := choose(n, dayEvents)
	w.causeOf(*number, kind.name)
	kind.run(w)
	w.after(time.Duration(n.Int64N(2*int64(d.Every))), func() { w.churn(number) })
}

// tell reports how far the day is, and forgets agents that have ended.
func (w *World) tell() (bound int) {
	w.agents = slices.DeleteFunc(w.agents, func(a *agent) bool {
		select {
		case <-a.ended:
			return true
		default:
			return false
		}
	})
	waiting := 0
	for _, p := range w.all {
		switch {
		case p.leaving:
		case p.agent != nil && !p.agent.over() && p.agent.Ready() == nil:
			bound++
		default:
			waiting++
		}
	}
	w.day.peak(w.leases)
	if tell := w.config.Day.Tell; tell != nil {
		tell(Progress{w.now(), w.trace.added, bound, waiting})
	}
	return bound
}

// departed checks that all ports of pods that are gone are free again.
func (j *judge) departed() error {
	var errs []error
	for _, p := range j.world.leases.Ports.Where(func(v ledger.Port) bool { return v.State != ledger.Free && !j.world.pods.lives(v.Pod, v.PodUID) }) {
		errs = append(errs, invariants.Violated("L1", "port %s is still %s for %s/%s, which is gone", p.Name, p.Value.State, p.Value.Pod, p.Value.PodUID))
	}
	for _, c := range j.world.leases.Claims.Where(func(v ledger.Claim) bool { return !j.world.pods.lives(v.Pod, v.PodUID) }) {
		errs = append(errs, invariants.Violated("L1", "claim %s is still %s, and its pod %s is gone", c.Name, c.Value.State, c.Value.Pod))
	}
	return errors.Join(errs...)
}
