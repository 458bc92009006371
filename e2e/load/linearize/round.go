package linearize

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/shared/api"
)

// round is one history: pods call at once while replicas fail, and then release
// everything.
type round struct {
	*system
	number  int
	began   time.Time
	callers []*caller

	mu  sync.Mutex
	ops []spec.Op
	// impatience decides which calls are impatient; nil means none.
	impatience *rand.Rand
	// foreign is port lease → removal of the foreign listener on it.
	foreign map[string]func(context.Context) error
	failure error
}

// Rounds differ. In one of plenty there are ports for all, so no pod may be told
// exhausted. In one of pairs some pods want two ports. In a calm one no replica fails,
// so every call is answered and its outcome is known.
func (r *round) plenty() bool { return r.number%3 == 2 }
func (r *round) pairs() bool  { return r.number%4 == 3 }
func (r *round) calm() bool   { return r.number%5 == 0 }

// finishLimit is how long the pods of a round may take to release everything: many
// times what they need.
const finishLimit = time.Minute

// play plays a round and returns its history, even if it fails.
func (c *system) play(ctx context.Context, number int) (spec.History, error) {
	r := &round{system: c, number: number, foreign: make(map[string]func(context.Context) error)}
	h := spec.History{Doubtful: maps.Clone(c.unknownPuts)}
	var err error
	if h.Ports, err = c.ports(ctx); err != nil {
		return h, err
	}
	r.chooseCallers()
	r.impatience = r.source(len(r.callers) + 1)
	r.began = time.Now()
	storm, over := context.WithCancel(ctx)
	var failing sync.WaitGroup
	if !r.calm() {
		failing.Go(func() { r.fail(r.failReplicas(storm, r.source(len(r.callers)))) })
	}
	r.all(ctx, (*caller).callAtRandom)
	over()
	failing.Wait()
	r.fail(scenario.Revive(ctx, c.rig.Replicas))

	finishing, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	r.all(finishing, (*caller).finish)
	r.fail(r.removeForeignListeners(ctx))
	r.mu.Lock()
	h.Ops, err = slices.Clone(r.ops), r.failure
	r.mu.Unlock()
	if err == nil {
		err = finishing.Err()
	}
	c.unknownPuts = make(map[string]int)
	for _, o := range h.Ops {
		if o.Outcome == spec.Unknown && o.Verb == spec.Put {
			c.unknownPuts[o.Pod] = o.Want
		}
	}
	return h, err
}

// source returns the random numbers of one part of this round.
func (r *round) source(part int) *rand.Rand {
	return rand.New(rand.NewPCG(r.seed, uint64(r.number)<<16+uint64(part)))
}

// chooseCallers decides which pods take part and how many ports they want.
func (r *round) chooseCallers() {
	callerPods := r.callerPods
	if r.plenty() {
		callerPods = callerPods[:balancers*portsEach*2/3]
	}
	for n, p := range callerPods {
		a := &caller{callerPod: p, round: r, rng: r.source(n), want: 1}
		if r.pairs() && n%8 == 0 {
			a.want = 2
		}
		r.callers = append(r.callers, a)
	}
}

// all runs a function for every caller at once and waits for them.
func (r *round) all(ctx context.Context, do func(*caller, context.Context)) {
	var wait sync.WaitGroup
	for _, a := range r.callers {
		wait.Go(func() { do(a, ctx) })
	}
	wait.Wait()
}

func (r *round) record(op spec.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// fail records an error of the rig: the round cannot be trusted.
func (r *round) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = errors.Join(r.failure, err)
}

// most is how many foreign listeners a round has.
const most = 2

// addForeignListener creates a foreign listener on a claim's first port.
func (r *round) addForeignListener(ctx context.Context, c api.Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lease := c.Ports[0].Fence.Lease
	if len(r.foreign) >= most || r.foreign[lease] != nil {
		return
	}
	remove, err := r.rig.ForeignListenerOn(ctx, slices.Index(r.rig.LoadBalancerARNs, c.LoadBalancer.ARN), c.Ports[0].ListenerPort)
	if err != nil {
		r.failure = errors.Join(r.failure, err)
		return
	}
	r.foreign[lease] = remove
}

// hasForeignListener reports whether a foreign listener is on a port.
func (r *round) hasForeignListener(lease string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign[lease] != nil
}

// removeForeignListeners removes the foreign listeners of the round.
func (r *round) removeForeignListeners(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for lease, remove := range r.foreign {
		if err := remove(ctx); err != nil {
			errs = append(errs, fmt.Errorf("clearing %s: %w", lease, err))
		}
	}
	return errors.Join(errs...)
}
