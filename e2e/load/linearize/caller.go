package linearize

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// callerPod is one pod of the system; the test makes its calls, no agent runs.
type callerPod struct {
	pod   *rig.Pod
	http  *http.Client
	token string
	// lane is its first lane in drawings; it has lanes of them.
	lane int
}

// lanes is how many calls of one pod may be under way at once.
const lanes = 2

// caller is a pod in one round.
type caller struct {
	*callerPod
	round *round
	rng   *rand.Rand
	want  int

	// claim is the claim that the pod knows of; nil if none.
	claim *api.Claim
	// past are its earlier claims of this round.
	past []api.Claim
	// unsure is true if there may be a claim that the pod does not know of.
	unsure bool
}

// callAtRandom plays one pod's part of a round: a few calls, each on some replica.
func (a *caller) callAtRandom(ctx context.Context) {
	for step := range 3 + a.rng.IntN(4) {
		if ctx.Err() != nil {
			return
		}
		dice := a.rng.IntN(100)
		switch {
		case len(a.past) > 0 && (dice < 10 || a.claim == nil && dice < 50):
			a.callWithPastClaim(ctx)
			continue
		case a.claim == nil:
			a.claimFirst(ctx)
			continue
		}
		switch {
		case dice < 15:
			a.until(ctx, a.put)
		case dice < 25:
			a.putTwice(ctx)
		case dice < 45, dice >= 65 && step < 3: // ports are few only while they are kept
			a.until(ctx, a.renew)
		case dice < 55:
			a.reportCollision(ctx)
		case dice < 65:
			a.remove(ctx)
		default:
			a.release(ctx)
		}
	}
}

// claimFirst claims; a pod that is told to wait tries again a few times.
func (a *caller) claimFirst(ctx context.Context) {
	for range 3 {
		switch a.until(ctx, a.put) {
		case spec.Exhausted, spec.Releasing:
			scenario.Wait(ctx, time.Duration(20+a.rng.IntN(60))*time.Millisecond)
		default:
			return
		}
	}
}

// tries is how often a call is repeated on other replicas before the pod continues
// without an answer.
const tries = 5

// until repeats a call on one replica after another until one answers it.
func (a *caller) until(ctx context.Context, call func(ctx context.Context, replica int) spec.Outcome) spec.Outcome {
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

// put claims. Every answer but a grant leaves a claim behind that may be granted
// without the pod knowing.
func (a *caller) put(ctx context.Context, replica int) spec.Outcome {
	return a.applyAnswer(a.round.put(ctx, a, replica, 0))
}

// applyAnswer applies the answer of a PUT.
func (a *caller) applyAnswer(op spec.Op, claim api.Claim) spec.Outcome {
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

// putTwice claims on two replicas at once.
func (a *caller) putTwice(ctx context.Context) {
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
		a.applyAnswer(ops[lane], claims[lane])
	}
}

func (a *caller) renew(ctx context.Context, replica int) spec.Outcome {
	op, claim := a.round.renew(ctx, a, replica, *a.claim)
	switch op.Outcome {
	case spec.Done:
		a.claim = &claim
	case spec.Lost:
		a.forgetClaim()
		a.unsure = true
	default:
	}
	return op.Outcome
}

// forgetClaim moves the claim to the past ones.
func (a *caller) forgetClaim() {
	a.past = append(a.past, *a.claim)
	a.claim = nil
}

// reportCollision reports a foreign listener on the claim's first port; sometimes that
// is true.
func (a *caller) reportCollision(ctx context.Context) {
	if len(a.claim.Ports) == 0 {
		return
	}
	if a.rng.IntN(4) == 0 {
		a.round.addForeignListener(ctx, *a.claim)
	}
	about := *a.claim
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		op, claim := a.round.reportCollision(ctx, a, replica, about)
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

// remove reports that unbinding is done although it never began; that does not end the
// claim.
func (a *caller) remove(ctx context.Context) {
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		return a.round.remove(ctx, a, replica, *a.claim)
	})
}

// callWithPastClaim makes a call of an earlier claim, which must change nothing.
func (a *caller) callWithPastClaim(ctx context.Context) {
	earlier := a.past[a.rng.IntN(len(a.past))]
	kind := a.rng.IntN(3)
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		var op spec.Op
		switch {
		case kind == 0:
			op, _ = a.round.renew(ctx, a, replica, earlier)
		case kind == 1 && len(earlier.Ports) > 0:
			op, _ = a.round.reportCollision(ctx, a, replica, earlier)
		default:
			op = a.round.release(ctx, a, replica, earlier)
		}
		return op.Outcome
	})
}

func (a *caller) release(ctx context.Context) {
	a.until(ctx, func(ctx context.Context, replica int) spec.Outcome {
		op := a.round.release(ctx, a, replica, *a.claim)
		if op.Outcome == spec.Done || op.Outcome == spec.Lost {
			a.forgetClaim()
		}
		return op.Outcome
	})
}

// finish releases the claim that the pod has or may have. A waiting claim must be
// granted first, because only then is its UID known.
func (a *caller) finish(ctx context.Context) {
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
