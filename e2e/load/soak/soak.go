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

// Times of the system, some twenty times shorter than in production, so that ten
// minutes have much life in them.
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
	// most listener ports of a load balancer that the pool can have; one listener is
	// somebody else's.
	mostPorts = 49
)

// portsEach is how many listener ports each load balancer has for so many agents.
// When they all live, some of them wait: a third of them want two ports.
func portsEach(agents int) int {
	return min(max((agents*11/10+loadBalancers-1)/loadBalancers, 2), mostPorts)
}

// soak is one system and what happens to it.
type soak struct {
	config
	*scenario.Stage
	*rig.Rig
	diary *diary
	judge *judge
	books *books
	// follow ends the judge's watch.
	follow func()
}

// newSoak starts a system. run ends it.
func newSoak(ctx context.Context, stage *scenario.Stage, c config) (_ *soak, err error) {
	s := &soak{config: c, Stage: stage, books: newBooks()}
	if s.diary, err = newDiary(c.folder); err != nil {
		return nil, err
	}
	s.judge = newJudge(s.diary, s.books)
	s.Say("starting %d emulated load balancers with %d ports each, and %d allocators", loadBalancers, portsEach(c.agents), replicas)
	if s.Rig, err = rig.New(ctx, rig.Config{
		Kube: s.Kube, Replicas: replicas, LoadBalancers: loadBalancers, ListenerPorts: fmt.Sprintf("%d-%d", firstPort, firstPort+portsEach(c.agents)-1),
		ClaimDuration: claimDuration, RenewEvery: renewEvery, Cooldown: cooldown, Sticky: sticky,
		AgentGrace: agentGrace, SweepEvery: sweepEvery, AuditEvery: auditEvery, Output: s.Out, Progress: s.Progress,
	}); err != nil {
		return nil, errors.Join(err, s.diary.close(false))
	}
	if s.follow, err = s.FollowLedger(s.judge.seePort, s.judge.seeClaim); err != nil {
		return nil, errors.Join(err, s.Abandon(ctx), s.diary.close(false))
	}
	return s, nil
}

// stopLimit is how long the end may take, with all its looks.
const stopLimit = 5 * time.Minute

// run lets it live, looks what is left, says so and stops everything. The end of ctx
// ends the faults.
func (s *soak) run(ctx context.Context) (err error) {
	s.Say("seed %d; history in %s", s.seed, s.diary.folder)
	played, err := s.live(ctx)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	var v verdict
	switch {
	case err == nil:
		v = s.settle(ending)
	case errors.Is(err, errBroken):
		v.violations, err = leaves(s.judge.found()...), nil
	}
	wrong := err != nil || v.wrong()
	if wrong {
		err = errors.Join(err, s.keep(ending))
	}
	s.follow()
	err = errors.Join(err, s.Abandon(ending))
	s.report(played, v, err == nil)
	if wrong && err == nil {
		err = errors.New("a promise was broken")
	}
	return errors.Join(err, s.diary.close(wrong || s.folder != ""))
}

// errBroken ends the course early: the judge has found something.
var errBroken = errors.New("a promise is broken")

// live lets things happen until the time is over or ctx ends, and tells for how long.
// What has begun to happen is over when it returns: nobody is paused or cut off.
func (s *soak) live(ctx context.Context) (played time.Duration, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	// Each has random numbers of its own, so that how fast one is does not change what
	// another draws.
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, n)) }
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.watch(ctx, began) })
	group.Go(func() error { return s.births(ctx, random(1)) })
	group.Go(func() error { return s.fates(ctx, random(2)) })
	group.Go(func() error { return s.failReplicas(ctx, random(3)) })
	err = group.Wait()
	return time.Since(began).Round(time.Second), err
}

const (
	checkEvery    = time.Second
	progressEvery = 12 * time.Second
)

// watch holds the promises again and again, and says how it goes.
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
			// A look that has begun is finished, or its end would be taken for a finding.
			if err := s.Check(context.WithoutCancel(ctx)); err != nil {
				s.judge.violate(err)
			}
			if len(s.judge.found()) > 0 {
				return errBroken
			}
		}
	}
}

// between draws a duration.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}

// keep writes what is needed to look at what went wrong into the folder.
func (s *soak) keep(ctx context.Context) error {
	claims, ports, err := s.Leases(ctx)
	return errors.Join(err, s.KeepLogs(s.diary.folder),
		writeJSON(s.diary.folder, "claims.json", claims), writeJSON(s.diary.folder, "ports.json", ports),
		writeJSON(s.diary.folder, "aws.json", s.Emulator.Snapshot()), os.WriteFile(s.diary.path("seed"), fmt.Appendln(nil, s.seed), 0o600))
}
