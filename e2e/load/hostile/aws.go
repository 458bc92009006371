package hostile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// In these cases AWS itself does not do what it should.

// faultReplicas sets the faults of all replicas' AWS calls until ctx ends.
func (w *world) faultReplicas(ctx context.Context, f func(elbemu.Call) elbemu.Fault) {
	for _, a := range w.Replicas {
		a.Fault(f)
		context.AfterFunc(ctx, func() { a.Fault(nil) })
	}
}

// expiryLimit is how long the claim of a pod that is gone may stay granted.
const expiryLimit = claimDuration + agentGrace + 5*time.Second

// hangAWS lets every AWS call of the replicas hang from the moment at which the janitor
// unbinds a port. What needs no AWS must go on: the claim of a pod that is gone expires.
func hangAWS(ctx context.Context, w *world) (judge, error) {
	earlier, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	released, _, err := earlier.bind(ctx, poolOpen)
	if err != nil {
		return nil, err
	}
	a, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := a.bind(ctx, poolOpen); err != nil {
		return nil, err
	}
	hanging := make(chan struct{})
	begin := sync.OnceFunc(func() { close(hanging) })
	w.faultReplicas(ctx, func(c elbemu.Call) elbemu.Fault {
		if !strings.HasPrefix(c.Action, "Describe") {
			begin()
		}
		select {
		case <-hanging:
		default:
			return elbemu.Fault{}
		}
		return elbemu.Fault{Before: func(caller context.Context) {
			select {
			case <-caller.Done():
			case <-ctx.Done():
			}
		}}
	})
	if err := errors.Join(earlier.release(ctx, released), earlier.finish(ctx, released)); err != nil {
		return nil, err
	}
	select {
	case <-hanging:
	case <-time.After(expiryLimit):
		return nil, fmt.Errorf("the janitor has not begun to unbind within %v", expiryLimit)
	}
	if err := a.Crash(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	return func(ctx context.Context) (outcome, error) {
		ctx, cancel := context.WithDeadline(ctx, began.Add(expiryLimit))
		defer cancel()
		err := scenario.Poll(ctx, 100*time.Millisecond, func() error {
			claims, _, err := w.Leases(ctx)
			if err != nil {
				return err
			}
			for _, c := range claims {
				if c.Value.PodUID == a.UID && c.Value.State == ledger.Granted {
					return fmt.Errorf("it is granted")
				}
			}
			return nil
		})
		if err != nil {
			return got(true, "the claim of a pod that is gone is granted, still after %v", expiryLimit)
		}
		return got(false, "the claim of a pod that is gone expired after %.0f s", time.Since(began).Seconds())
	}, nil
}

// groupLag is how long any call may miss a new target group: three seconds of AWS's, at
// the speed of this scenario.
const groupLag = time.Second

// stopYoungPods ends pods right after their target groups were created, while AWS may
// not know the groups yet. A port must not be free while its group exists.
func stopYoungPods(ctx context.Context, w *world) (judge, error) {
	const young = 8 // few: like any pods they use the budget, which this case is not about
	f := freed{w: w, groups: make(map[string]string)}
	unfollow, err := w.FollowLedger(f.observe, func(rig.ClaimRecord) {})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, unfollow)
	for range young {
		a, err := w.newAttacker(ctx)
		if err != nil {
			return nil, err
		}
		c, err := a.grant(ctx, poolOpen)
		if err != nil {
			return nil, err
		}
		group, err := a.emptyGroup(ctx, c.Ports[0].TargetGroupName, a.tags(c.Ports[0].Fence))
		if err != nil {
			return nil, err
		}
		f.watch(c.Ports[0].Fence.Lease, group)
		if err := a.license(ctx, c, group); err != nil {
			return nil, err
		}
		// What the pod says makes the janitor look at once.
		if err := errors.Join(a.release(ctx, c), a.finish(ctx, c)); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (outcome, error) {
		scenario.Wait(ctx, 2*groupLag)
		n := f.count()
		return got(n > 0, "%d of %d ports were free while their target groups existed", n, young)
	}, nil
}

// freed finds ports that nobody holds although their last target group exists.
type freed struct {
	w *world

	mu sync.Mutex
	// groups is port lease → the target group of its last holder; broken counts the
	// ports.
	groups map[string]string
	broken int
}

func (f *freed) watch(lease, group string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[lease] = group
}

func (f *freed) observe(p rig.PortRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	group, watched := f.groups[p.Name]
	if !watched || p.Value.Held() {
		return
	}
	delete(f.groups, p.Name)
	for _, g := range f.w.Emulator.Snapshot().TargetGroups {
		if g.ARN == group {
			f.broken++
		}
	}
}

func (f *freed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}
