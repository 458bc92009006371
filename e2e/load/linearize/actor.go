package linearize

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// player is one pod of the course; its calls are made here, no agent runs.
type player struct {
	pod   *rig.Pod
	token string
	// lane is its first in drawings; it has lanes of them.
	lane int
}

// lanes is how many calls of one pod may be under way at once.
const lanes = 2

// actor is a player in one round.
type actor struct {
	*player
	round *round
	rng   *rand.Rand
	want  int

	// claim is what the pod believes to have; nil if nothing.
	claim *api.Claim
	// past are its earlier claims of this round.
	past []api.Claim
	// unsure is true if there may be a claim that the pod knows nothing of.
	unsure bool
}

// act plays one pod's part of a round: a few calls, each on some replica.
func (a *actor) act(ctx context.Context) {
	for step := range 3 + a.rng.IntN(4) {
		if ctx.Err() != nil {
			return
		}
		dice := a.rng.IntN(100)
		switch {
		case len(a.past) > 0 && (dice < 10 || a.claim == nil && dice < 50):
			a.late(ctx)
			continue
		case a.claim == nil:
			a.begin(ctx)
			continue
		}
		switch {
		case dice < 15:
			a.until(ctx, a.put)
		case dice < 25:
			a.twice(ctx)
		case dice < 45, dice >= 65 && step < 3: // ports are few only while they are kept
			a.until(ctx, a.renew)
		case dice < 55:
			a.conflict(ctx)
		case dice < 65:
			a.remove(ctx)
		default:
			a.release(ctx)
		}
	}
}

// begin claims; a pod that is put off comes again a few times.
func (a *actor) begin(ctx context.Context) {
	for range 3 {
		switch a.until(ctx, a.put) {
		case spec.Exhausted, spec.Releasing:
			scenario.Wait(ctx, time.Duration(20+a.rng.IntN(60))*time.Millisecond)
		default:
			return
		}
	}
}

// tries is how often a call is repeated on other replicas before the pod goes on
// without an answer.
const tries = 5

// until repeats a call on one replica after the other until one answers it.
func (a *actor) until(ctx context.Context, call func(ctx context.Context, replica int) spec.Outcome) spec.Outcome {
	replica := a.rng.IntN(len(a.round.rig.Replicas))
	var outcome spec.Outcome
	for range tries {
		outcome = call(ctx, replica)
		switch outcome {
		case spec.Unknown, spec.Refused, notSent:
		default:
			return outcome
		}
		if ctx.Err() != nil {
			return outcome
		}
		scenario.Wait(ctx, time.Duration(10+a.rng.IntN(40))*time.Millisecond)
		replica = (replica + 1) % len(a.round.rig.Replicas)
	}
	return outcome
}

// put claims. Whatever is not a grant leaves a claim behind that may be granted
// without the pod being told.
func (a *actor) put(ctx context.Context, replica int) spec.Outcome {
	return a.learn(a.round.put(ctx, a, replica, 0))
}

// learn takes in what a PUT was answered.
func (a *actor) learn(op spec.Op, claim api.Claim) spec.Outcome {
	switch op.Outcome {
	case spec.Done:
		a.claim, a.unsure = &claim, false
	case spec.Releasing:
		if a.claim == nil {
			a.unsure = false
		}
	case notSent:
	default:
		a.unsure = a.unsure || a.claim == nil
	}
	return op.Outcome
}

// twice claims on two replicas at once.
func (a *actor) twice(ctx context.Context) {
	first := a.rng.IntN(len(a.round.rig.Replicas))
	var ops [lanes]spec.Op
	var claims [lanes]api.Claim
	var wait sync.WaitGroup
	for lane := range lanes {
		wait.Go(func() {
			ops[lane], claims[lane] = a.round.put(ctx, a, (first+lane)%len(a.round.rig.Replicas), lane)
		})
	}
	wait.Wait()
	for lane := range lanes {
		a.learn(ops[lane], claims[lane])
	}
}

func (a *actor) renew(ctx context.Context, replica int) spec.Outcome {
	op, claim := a.round.renew(ctx, a, replica, *a.claim)
	switch op.Outcome {
	case spec.Done:
		a.claim = &claim
	case spec.Lost:
		a.drop()
		a.unsure = true
	default:
	}
	return op.Outcome
}

// drop forgets the claim.
func (a *actor) drop() {
	a.past = append(a.past, *a.claim)
	a.claim = nil
}

// conflict says that somebody else's listener is on the claim's first port; now
// and then that is true.
func (a *actor) conflict(ctx context.Context) {
	if len(a.claim.Ports) == 0 {
		return
	}
	if a.rng.IntN(4) == 0 {
		a.round.plant(ctx, *a.claim)
	}
	about := *a.claim
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		op, claim := a.round.conflict(ctx, a, replica, about)
		switch op.Outcome {
		case spec.Done:
			a.claim = &claim
		case spec.Exhausted:
			a.claim.Ports = nil
		default:
		}
		return op.Outcome
	})
}

// remove says that unbinding is done although it never began: that ends nothing.
func (a *actor) remove(ctx context.Context) {
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		return a.round.remove(ctx, a, replica, *a.claim)
	})
}

// late makes a call of an earlier claim, which must change nothing.
func (a *actor) late(ctx context.Context) {
	earlier := a.past[a.rng.IntN(len(a.past))]
	kind := a.rng.IntN(3)
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		var op spec.Op
		switch {
		case kind == 0:
			op, _ = a.round.renew(ctx, a, replica, earlier)
		case kind == 1 && len(earlier.Ports) > 0:
			op, _ = a.round.conflict(ctx, a, replica, earlier)
		default:
			op = a.round.release(ctx, a, replica, earlier)
		}
		return op.Outcome
	})
}

func (a *actor) release(ctx context.Context) {
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		op := a.round.release(ctx, a, replica, *a.claim)
		if op.Outcome == spec.Done || op.Outcome == spec.Lost {
			a.drop()
		}
		return op.Outcome
	})
}

// finish gives back what the pod has and what it may have: a claim that waits is
// granted first, because only then is its UID known.
func (a *actor) finish(ctx context.Context) {
	for ctx.Err() == nil && (a.claim != nil || a.unsure) {
		if a.claim != nil {
			a.release(ctx)
			continue
		}
		if a.until(ctx, a.put) != spec.Done {
			scenario.Wait(ctx, time.Duration(20+a.rng.IntN(40))*time.Millisecond)
		}
	}
}
