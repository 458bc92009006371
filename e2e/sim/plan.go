package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// eventKind is something that may happen, with its weight.
type eventKind struct {
	name   string
	weight int
	run    func(*World)
	// when reports in which runs it may happen; nil means in all.
	when func(Config) bool
}

var eventKinds = []eventKind{
	{name: "create", weight: 30, run: (*World).createPod},
	{name: "stop", weight: 8, run: onPod((*World).stopPod)},
	{name: "recreate", weight: 4, run: onPod((*World).recreate)},
	{name: "crash", weight: 10, run: onPod((*World).crash)},
	{name: "move", weight: 5, run: onPod((*World).newSandbox)},
	{name: "delete by force", weight: 6, run: onPod(func(w *World, p *pod) { w.forceDelete(p, 150*time.Second) })},
	{name: "lose node", weight: 4, run: onPod(func(w *World, p *pod) { w.loseNode(p, 200*time.Second) })},
	{name: "fail", weight: 4, run: onPod((*World).fail)},
	{name: "partition agent", weight: 5, run: onPod((*World).partitionAgent)},
	{name: "restart replica", weight: 4, run: onReplica((*World).restartReplica)},
	{name: "pause replica", weight: 5, run: onReplica((*World).pauseReplica)},
	{name: "lead", weight: 4, run: onReplica((*World).lead)},
	{name: "stall watches", weight: 4, run: onReplica((*World).stallWatches)},
	{name: "partition replica", weight: 4, run: onReplica((*World).partitionReplica)},
	{name: "wall clock", weight: 2, run: onReplica((*World).jumpClock)},
	{name: "foreign listener", weight: 3, run: (*World).foreignListener},
	{name: "cordon", weight: 2, run: (*World).cordon},
	{name: "uncordon", weight: 3, run: (*World).uncordon},
	{name: "block", weight: 2, run: (*World).block},
	{name: "unblock", weight: 3, run: (*World).unblock},
	{name: "pool file", weight: 4, run: (*World).editPool},
	{name: "fail to list", weight: 2, run: (*World).hideListeners},
	{name: "throttle reads", weight: 2, run: (*World).throttleReads},
	{name: "reuse IP", weight: 4, run: onPod((*World).reuseIP)},
	{name: "plant listener", weight: 4, run: onPod((*World).plant)},
	{name: "hang AWS", weight: 2, run: (*World).hangAWS},
	{name: "delete listener", weight: 6, run: (*World).deleteListener, when: func(c Config) bool { return c.Damage }},
	{name: "delete target group", weight: 6, run: (*World).deleteTargetGroup, when: func(c Config) bool { return c.Damage }},
	{name: "delete load balancer", weight: 2, run: (*World).deleteLoadBalancer, when: func(c Config) bool { return c.Damage }},
	{name: "redirect listener", weight: 4, run: (*World).redirectListener, when: func(c Config) bool { return c.Damage }},
	{name: "change targets", weight: 6, run: (*World).changeTargets, when: func(c Config) bool { return c.Damage }},
	{name: "lose claim", weight: 9, run: (*World).loseClaim, when: func(c Config) bool { return c.Losses }},
	{name: "lose port", weight: 9, run: (*World).losePort, when: func(c Config) bool { return c.Losses }},
}

// plannedEvent is one event of a run.
type plannedEvent struct {
	eventKind
	// number is its place in the plan.
	number int
	// pause is the time from it to the next one.
	pause time.Duration
}

// plan returns the events of a run: a few pods at first, and then any kind at random
// times.
func plan(c Config) []plannedEvent {
	r := randomFor(c.Seed, "plan")
	possible := slices.DeleteFunc(slices.Clone(eventKinds), func(h eventKind) bool {
		return h.when != nil && !h.when(c) || c.Kinds != nil && !slices.Contains(c.Kinds, h.name)
	})
	var all []plannedEvent
	for number := 1; number <= first+c.Events; number++ {
		p := plannedEvent{eventKind: eventKinds[0], number: number}
		if number > first {
			p.eventKind = choose(r, possible)
			p.pause = time.Second + time.Duration(r.IntN(25_000))*time.Millisecond
		}
		all = append(all, p)
	}
	return all
}

// choose returns one of several kinds, by their weights.
func choose(r *rand.Rand, kinds []eventKind) eventKind {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := r.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	return kinds[0]
}

// first is how many pods are created before any other event.
const first = 3

// runPlan carries out the plan.
func (w *World) runPlan() error {
	for _, p := range plan(w.config) {
		if w.config.Keep == nil || slices.Contains(w.config.Keep, p.number) {
			w.cause = &cause{Rand: randomFor(w.config.Seed, fmt.Sprint("happening ", p.number)), number: p.number}
			w.trace.add("== %d: %s", p.number, p.name)
			w.eventCounts[p.name]++
			p.run(w)
		}
		if err := w.runFor(p.pause); err != nil {
			return err
		}
	}
	return nil
}

func onPod(do func(*World, *pod)) func(*World) {
	return func(w *World) {
		if p, ok := pick(w.cause, w.all, func(p *pod) string { return p.uid }); ok {
			do(w, p)
		}
	}
}

func onReplica(do func(*World, *replica)) func(*World) {
	return func(w *World) {
		if r, ok := pick(w.cause, w.replicas, func(r *replica) string { return r.name }); ok {
			do(w, r)
		}
	}
}
