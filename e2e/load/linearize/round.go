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

// round is one history: pods that call at once while replicas fail, and then give
// all back.
type round struct {
	*course
	number int
	began  time.Time
	actors []*actor

	mu  sync.Mutex
	ops []spec.Op
	// moods decides how patient a call is; nil is always patient.
	moods *rand.Rand
	// foreign is port lease → removal of somebody else's listener on it.
	foreign map[string]func(context.Context) error
	failure error
}

// Rounds differ. In one of plenty there are ports for all, so that nobody may be
// told exhausted. In one of pairs some pods want two ports. In a calm one no
// replica fails, so that every call is answered and nothing is in doubt.
func (r *round) plenty() bool { return r.number%3 == 2 }
func (r *round) pairs() bool  { return r.number%4 == 3 }
func (r *round) calm() bool   { return r.number%5 == 0 }

// finishLimit is how long the pods of a round may take to give all back: many
// times what they need.
const finishLimit = time.Minute

// play plays a round and gives its history, as far as it came.
func (c *course) play(ctx context.Context, number int) (spec.History, error) {
	r := &round{course: c, number: number, foreign: make(map[string]func(context.Context) error)}
	h := spec.History{Doubtful: maps.Clone(c.doubtful)}
	var err error
	if h.Ports, err = c.ports(ctx); err != nil {
		return h, err
	}
	r.cast()
	r.moods = r.source(len(r.actors) + 1)
	r.began = time.Now()
	storm, over := context.WithCancel(ctx)
	var failing sync.WaitGroup
	if !r.calm() {
		failing.Go(func() { r.fail(r.failReplicas(storm, r.source(len(r.actors)))) })
	}
	r.all(ctx, (*actor).act)
	over()
	failing.Wait()
	r.fail(scenario.Revive(ctx, c.rig.Replicas))

	finishing, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	r.all(finishing, (*actor).finish)
	r.fail(r.clear(ctx))
	r.mu.Lock()
	h.Ops, err = slices.Clone(r.ops), r.failure
	r.mu.Unlock()
	if err == nil {
		err = finishing.Err()
	}
	c.doubtful = make(map[string]int)
	for _, o := range h.Ops {
		if o.Outcome == spec.Unknown && o.Verb == spec.Put {
			c.doubtful[o.Pod] = o.Want
		}
	}
	return h, err
}

// source gives the random numbers of one part of this round.
func (r *round) source(part int) *rand.Rand {
	return rand.New(rand.NewPCG(r.seed, uint64(r.number)<<16+uint64(part)))
}

// cast decides which pods play and what they want.
func (r *round) cast() {
	players := r.players
	if r.plenty() {
		players = players[:balancers*portsEach*2/3]
	}
	for n, p := range players {
		a := &actor{player: p, round: r, rng: r.source(n), want: 1}
		if r.pairs() && n%8 == 0 {
			a.want = 2
		}
		r.actors = append(r.actors, a)
	}
}

// all lets every actor do something at once and waits for them.
func (r *round) all(ctx context.Context, do func(*actor, context.Context)) {
	var wait sync.WaitGroup
	for _, a := range r.actors {
		wait.Go(func() { do(a, ctx) })
	}
	wait.Wait()
}

func (r *round) record(op spec.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// fail remembers an error of the rig: the round cannot be trusted.
func (r *round) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = errors.Join(r.failure, err)
}

// most is how many listeners of somebody else a round has.
const most = 2

// plant makes a listener of somebody else on a claim's first port.
func (r *round) plant(ctx context.Context, c api.Claim) {
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

// planted tells whether somebody else's listener is on a port.
func (r *round) planted(lease string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign[lease] != nil
}

// clear removes what was planted.
func (r *round) clear(ctx context.Context) error {
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
