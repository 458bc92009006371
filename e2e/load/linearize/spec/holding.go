package spec

import (
	"slices"

	"github.com/portlease/portlease/shared/api"
)

// holding is who has one listener port.
type holding struct {
	// claim is the UID of the holder's claim; empty before the first.
	claim string
	// epoch and generation of the last holding; an empty epoch is a port that
	// nobody ever had.
	epoch      string
	generation int
	// over is a holding whose release has begun: from then on the port may have
	// another holder at any time.
	over bool
}

// portCall is the meaning of one operation for one port.
type portCall struct {
	Op
	// begins is how the port stood before the round.
	begins *Port
	// claim is whose holding the operation speaks of.
	claim string
	// fence of a holding that the answer shows; ends says instead that the
	// holding is over, perhaps that it may be.
	fence       api.Fence
	ends, maybe bool
}

// holdingSteps gives every state that a port may be in after an operation; none
// if the operation shows what cannot be.
func holdingSteps(s holding, t portCall) []holding {
	if t.begins != nil {
		return []holding{{epoch: t.begins.Epoch, generation: t.begins.Generation, over: true}}
	}
	if t.ends {
		after := s
		after.over = s.over || s.claim == t.claim
		if t.maybe && after != s {
			return []holding{s, after}
		}
		return []holding{after}
	}
	now := holding{claim: t.claim, epoch: t.fence.Epoch, generation: t.fence.Generation}
	switch {
	case s == now:
		return []holding{s}
	case !s.over:
		return nil // somebody has it, under another fence
	case s.epoch == "":
		return []holding{now}
	case s.epoch == now.epoch && now.generation > s.generation:
		return []holding{now}
	}
	return nil // the lease was not made anew, and no generation comes twice
}

// portCalls returns the operations on each port, by port lease.
func portCalls(h History) map[string][]portCall {
	of := make(map[string][]portCall)
	for i := range h.Ports {
		p := &h.Ports[i]
		of[p.Lease] = []portCall{{begins: p, Op: Op{Start: -1, End: -1}}}
	}
	had := make(map[string][]Op) // claim UID → answers that show its ports
	for _, o := range h.Ops {
		if o.Outcome != Done || len(o.Holds) == 0 {
			continue
		}
		had[o.UID] = append(had[o.UID], o)
		for _, held := range o.Holds {
			of[held.Fence.Lease] = append(of[held.Fence.Lease], portCall{Op: o, claim: o.UID, fence: held.Fence})
		}
	}
	for _, o := range h.Ops {
		moves := o.Verb == Collision && o.Foreign
		if o.Verb != Release && !moves || o.Outcome == Lost || o.Outcome == Releasing {
			continue
		}
		pair := slices.ContainsFunc(had[o.Claim], func(a Op) bool { return len(a.Holds) > 1 })
		maybe := o.Outcome != Done && o.Outcome != Exhausted || moves && pair && o.Outcome == Exhausted
		for lease, before := range everHad(had[o.Claim], o) {
			again := o.lists(lease)
			if moves && again && !o.regains(lease, had[o.Claim]) {
				continue
			}
			// A port first seen while a collision call was under way may be where the
			// claim moved to. The claim may also get the port that it left again, as
			// another holding.
			of[lease] = append(of[lease], portCall{Op: o, claim: o.Claim, ends: true, maybe: maybe || moves && (again || !before)})
		}
	}
	return of
}

// regains tells whether an answer shows a port under a later fence than another
// answer to the same claim does.
func (o Op) regains(lease string, answers []Op) bool {
	later := func(h Hold) bool {
		return slices.ContainsFunc(o.Holds, func(now Hold) bool {
			return h.Fence.Lease == lease && now.Fence.Lease == lease && h.Fence.Generation < now.Fence.Generation
		})
	}
	return slices.ContainsFunc(answers, func(a Op) bool { return slices.ContainsFunc(a.Holds, later) })
}

// everHad gives every port lease that a claim was ever seen to have, and whether
// that was before an operation began.
func everHad(answers []Op, o Op) map[string]bool {
	leases := make(map[string]bool)
	for _, a := range answers {
		for _, held := range a.Holds {
			leases[held.Fence.Lease] = leases[held.Fence.Lease] || a.End < o.Start
		}
	}
	return leases
}
