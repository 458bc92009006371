package spec

import (
	"cmp"
	"slices"
	"time"
)

// poolState is what can be said for certain about the free ports of the pool in
// the course of a round, as one comparable value.
type poolState struct {
	// untouched counts the ports that no operation has spoken of so far, by load
	// balancer. They are free. One that was given back is not certainly free for
	// the rest of the round: it cools down, and a replica may hear of it late.
	untouched [maxLoadBalancers]int
	// waiting has a letter for each pod that was told exhausted and not granted
	// since; waitingWant is how many ports these ask for. They are served first.
	waiting     string
	waitingWant int
	// doubtful is how many ports may be held without anybody having been told.
	doubtful int
}

const maxLoadBalancers = 4

// poolCall is the meaning of one operation for the pool.
type poolCall struct {
	Op
	begins *poolState
	// takes are ports that the operation is the first to speak of, by load
	// balancer.
	takes [maxLoadBalancers]int
	// doubts adds to the ports that may be held unknown to all.
	doubts int
	// granted says that the pod waits no longer, told that it was told exhausted,
	// undone that it was not told what became of its call.
	granted, told, undone bool
	balancers             int
	letter                string
}

// poolStep: exhausted may only be answered if it may be true. On no load balancer
// are there as many free ports as the pod wants, besides those that may be held
// unknown to all and those that others wait for.
func poolStep(s poolState, c poolCall) []poolState {
	if c.begins != nil {
		return []poolState{*c.begins}
	}
	for i := range s.untouched {
		s.untouched[i] -= c.takes[i]
	}
	s.doubtful += c.doubts
	waits := slices.Contains([]byte(s.waiting), c.firstLetter())
	switch {
	case c.granted && waits:
		s.waiting = without(s.waiting, c.firstLetter())
		s.waitingWant -= c.Want
	case c.told:
		others := s.waitingWant
		if waits {
			others -= c.Want
		}
		tooMany := 0
		for _, free := range s.untouched[:c.balancers] {
			tooMany += max(0, free-(c.Want-1))
		}
		if tooMany > s.doubtful+others {
			return nil
		}
		if !waits {
			s.waiting = with(s.waiting, c.firstLetter())
			s.waitingWant += c.Want
		}
	}
	return []poolState{s}
}

func (c poolCall) firstLetter() byte {
	if c.letter == "" {
		return 0
	}
	return c.letter[0]
}

func without(s string, letter byte) string {
	letters := []byte(s)
	return string(slices.DeleteFunc(letters, func(b byte) bool { return b == letter }))
}

func with(s string, letter byte) string {
	letters := append([]byte(s), letter)
	slices.Sort(letters)
	return string(letters)
}

// changes gives the operations on the pool. All but the exhausted answers are put
// at one moment each, the one that makes most exhausted answers right: a port is
// touched as soon as the call that speaks of it began, a waiting pod stops waiting
// only when it was told that it is granted. No history becomes right or wrong by
// that, and few enough operations overlap for a wrong one to be found out.
func poolCalls(h History) []poolCall {
	begin := poolState{}
	balancers := make(map[string]int)
	for _, p := range h.Ports {
		if _, known := balancers[p.LoadBalancer]; !known {
			balancers[p.LoadBalancer] = len(balancers)
		}
		begin.untouched[balancers[p.LoadBalancer]]++
	}
	for _, want := range h.Doubtful {
		begin.doubtful += want
	}
	ops := slices.Clone(h.Ops)
	slices.SortFunc(ops, func(a, b Op) int { return cmp.Compare(a.Start, b.Start) })
	letters := make(map[string]string)
	touched := make(map[string]bool)
	at := func(o Op, moment time.Duration) Op { o.Start, o.End = moment, moment; return o }
	for _, o := range ops {
		if letters[o.Pod] == "" {
			letters[o.Pod] = string([]byte{byte(len(letters) + 1)})
			if o.Want > 1 {
				// A pod of several ports may take some of a plan, give them back,
				// and try another, all within a call.
				begin.doubtful += o.Want
			}
		}
	}
	all := []poolCall{{begins: &begin, Op: Op{Start: -1, End: -1}}}
	for _, o := range ops {
		c := poolCall{Op: o, balancers: len(balancers), letter: letters[o.Pod]}
		switch {
		case (o.Verb == Put || o.Verb == Collision) && o.Outcome == Exhausted:
			c.told = true
			all = append(all, c)
		case o.Outcome == Done && len(o.Holds) > 0:
			for _, held := range o.Holds {
				if !touched[held.Fence.Lease] {
					touched[held.Fence.Lease] = true
					c.takes[balancers[held.LoadBalancer]]++
				}
			}
			c.Op = at(o, o.Start)
			all = append(all, c, poolCall{Op: at(o, o.End), granted: true, letter: c.letter})
		case (o.Verb == Put || o.Verb == Renew || o.Verb == Collision) && (o.Outcome == Unknown || o.Outcome == Refused):
			c.Op, c.undone = at(o, o.Start), true
			all = append(all, c)
		}
	}
	return doubt(all)
}

// doubt counts the pods that may hold ports unknown to all. One that was put off
// does until it is granted; one with a call of unknown outcome does for the rest
// of the round, because that call may yet come about.
func doubt(all []poolCall) []poolCall {
	slices.SortStableFunc(all, func(a, b poolCall) int { return cmp.Compare(a.Start, b.Start) })
	doubted := make(map[string]Outcome)
	for i := range all {
		c := &all[i]
		switch {
		case c.undone && doubted[c.Pod] == "":
			c.doubts, doubted[c.Pod] = c.Want, c.Outcome
		case c.undone && c.Outcome == Unknown:
			doubted[c.Pod] = Unknown
		case c.granted && doubted[c.Pod] == Refused:
			c.doubts, doubted[c.Pod] = -c.Want, ""
		}
	}
	return all
}
