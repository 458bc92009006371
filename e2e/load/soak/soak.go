package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// These times are about twenty times shorter than in production, so that much happens
// within ten minutes.
const (
	claimDuration = 6 * time.Second
	renewEvery    = 2 * time.Second
	cooldown      = 2 * time.Second
	sticky        = 20 * time.Second
	agentGrace    = 3 * time.Second
	sweepEvery    = 250 * time.Millisecond
	auditEvery    = 2 * time.Second
)

const (
	replicas      = 3
	loadBalancers = 3
	firstPort     = 30000
	// mostPorts is how many listener ports of a load balancer the pool can have; a
	// foreign listener takes one.
	mostPorts = 49
)

// portsEach returns how many listener ports each load balancer has for that many
// agents. If all agents live, some of them wait: a third of them want two ports.
func portsEach(agents int) int {
	return min(max((agents*11/10+loadBalancers-1)/loadBalancers, 2), mostPorts)
}

// soak is one installation and everything that is done to it.
type soak struct {
	config
	*scenario.Stage
	*rig.Rig
	history  *history
	checker  *checker
	registry *registry
	// unfollow stops following the ledger.
	unfollow func()
}

// newSoak starts an installation; run stops it.
func newSoak(ctx context.Context, stage *scenario.Stage, c config) (_ *soak, err error) {
	s := &soak{config: c, Stage: stage, registry: newRegistry()}
	if s.history, err = newHistory(c.folder); err != nil {
		return nil, err
	}
	s.checker = newChecker(s.history, s.registry)
	s.Say("starting %d emulated load balancers with %d ports each, and %d allocators", loadBalancers, portsEach(c.agents), replicas)
	if s.Rig, err = rig.New(ctx, rig.Config{
		Kube: s.Kube, Replicas: replicas, LoadBalancers: loadBalancers, ListenerPorts: fmt.Sprintf("%d-%d", firstPort, firstPort+portsEach(c.agents)-1),
		ClaimDuration: claimDuration, RenewEvery: renewEvery, Cooldown: cooldown, Sticky: sticky,
		AgentGrace: agentGrace, SweepEvery: sweepEvery, AuditEvery: auditEvery, Output: s.Out, Progress: s.Progress,
	}); err != nil {
		return nil, errors.Join(err, s.history.close(false))
	}
	if s.unfollow, err = s.FollowLedger(s.checker.observePort, s.checker.observeClaim); err != nil {
		return nil, errors.Join(err, s.Abandon(ctx), s.history.close(false))
	}
	return s, nil
}

// stopLimit is how long the end may take, with all its checks.
const stopLimit = 5 * time.Minute

// run plays the soak, checks for leftovers, reports, and stops everything. When ctx
// ends, only the faults stop early.
func (s *soak) run(ctx context.Context) (err error) {
	s.Say("seed %d; history in %s", s.seed, s.history.folder)
	played, err := s.live(ctx)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	var v verdict
	switch {
	case err == nil:
		v = s.finish(ending)
	case errors.Is(err, errBroken):
		v.violations, err = flatten(s.checker.found()...), nil
	}
	wrong := err != nil || v.wrong()
	if wrong {
		err = errors.Join(err, s.keep(ending))
	}
	s.unfollow()
	err = errors.Join(err, s.Abandon(ending))
	s.report(played, v, err == nil)
	if wrong && err == nil {
		err = errors.New("a promise was broken")
	}
	return errors.Join(err, s.history.close(wrong || s.folder != ""))
}

// errBroken stops the faults early: the checker has found a violation.
var errBroken = errors.New("a promise is broken")

// live creates pods and plays faults until the time is over or ctx ends, and returns
// how long that was. Every fault has ended when it returns: nothing is paused or cut
// off.
func (s *soak) live(ctx context.Context) (played time.Duration, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	// Each has random numbers of its own, so that its speed does not change what
	// another one draws.
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, n)) }
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.watch(ctx, began) })
	group.Go(func() error { return s.createPods(ctx, random(1)) })
	group.Go(func() error { return s.podFaults(ctx, random(2)) })
	group.Go(func() error { return s.failReplicas(ctx, random(3)) })
	err = group.Wait()
	return time.Since(began).Round(time.Second), err
}

const (
	checkEvery    = time.Second
	progressEvery = 12 * time.Second
)

// watch checks the invariants every second and prints progress.
func (s *soak) watch(ctx context.Context, began time.Time) error {
	checks, progress := time.NewTicker(checkEvery), time.NewTicker(progressEvery)
	defer checks.Stop()
	defer progress.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-progress.C:
			s.progress(s.length - time.Since(began))
		case <-checks.C:
			// A check that has begun is finished, or its cancellation would be reported
			// as a violation.
			if err := s.Check(context.WithoutCancel(ctx)); err != nil {
				s.checker.violate(err)
			}
			if len(s.checker.found()) > 0 {
				return errBroken
			}
		}
	}
}

// between draws a duration.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}

// keep writes everything that helps to find the cause into the folder.
func (s *soak) keep(ctx context.Context) error {
	claims, ports, err := s.Leases(ctx)
	return errors.Join(err, s.KeepLogs(s.history.folder),
		writeJSON(s.history.folder, "claims.json", claims), writeJSON(s.history.folder, "ports.json", ports),
		writeJSON(s.history.folder, "aws.json", s.Emulator.Snapshot()), os.WriteFile(s.history.path("seed"), fmt.Appendln(nil, s.seed), 0o600))
}
