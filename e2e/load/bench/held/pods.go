package held

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/shared/api"
)

// crowd is many pods that call until it is stopped.
type crowd struct {
	calls, failed atomic.Int64
	// told counts the pods that were told to wait, each once.
	told atomic.Int64
	// granted counts the pods that got a port.
	granted atomic.Int64
	running sync.WaitGroup

	mu sync.Mutex
	// reasons counts the failed calls by the code of the answer; empty without one.
	reasons map[api.Code]int
}

// fail counts a failed call.
func (c *crowd) fail(err error) {
	c.failed.Add(1)
	var code api.Code
	if problem, answered := errors.AsType[*api.Problem](err); answered {
		code = problem.Code
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons = make(map[api.Code]int)
	}
	c.reasons[code]++
}

// failures says why calls failed.
func (c *crowd) failures() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.reasons)
}

func (c *crowd) count() tally { return tally{c.calls.Load(), c.failed.Load()} }

// renewing measures pods that hold ports.
func (m *measurement) renewing(ctx context.Context) (rows []report.Row, err error) {
	calling, stop := context.WithCancel(ctx)
	c := new(crowd)
	defer func() { stop(); c.running.Wait() }()
	for _, n := range m.Renewing {
		if err := m.hold(ctx, calling, c, n-m.Filled()); err != nil {
			return nil, err
		}
		m.Say("held: measuring %d pods that renew", n)
		if scenario.Wait(ctx, m.WarmUp); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		row, err := m.rounds(ctx, fmt.Sprintf("%d renewing", n), c.count)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	row, err := m.slowly(ctx, c)
	if c.failed.Load() > 0 {
		m.Say("held: renewals have failed, by code: %s", c.failures())
	}
	return append(rows, row), err
}

// slowly measures the pods that renew while the API server is slow.
func (m *measurement) slowly(ctx context.Context, c *crowd) (row report.Row, err error) {
	m.Say("held: measuring the same while the API server is slower by %v", m.Slow)
	// The allocator reaches it through its link, which costs this process some time.
	m.allocator.SlowKubernetes(m.Slow)
	if err := m.serve(ctx, "-kubeconfig", m.allocator.Kubeconfig()); err != nil {
		return row, err
	}
	if scenario.Wait(ctx, m.WarmUp); ctx.Err() != nil {
		return row, context.Cause(ctx)
	}
	if row, err = m.rounds(ctx, fmt.Sprintf("%d renewing, slow API", m.Filled()), c.count); err != nil {
		return row, err
	}
	return row, m.serve(ctx)
}

// hold makes so many more pods that hold ports, and makes them renew until calling ends.
func (m *measurement) hold(ctx, calling context.Context, c *crowd, more int) error {
	m.Say("held: making %d pods that hold a port", more)
	agents, err := m.makeAgents(ctx, "held", more)
	if err != nil {
		return err
	}
	pods := make([]*site.Pod, more)
	for i, a := range agents {
		pods[i] = a.Pod
	}
	held, err := m.Hold(ctx, pods)
	if err != nil {
		return err
	}
	for i, a := range agents {
		c.running.Go(func() { m.renew(calling, c, a, held[i]) })
	}
	return nil
}

// makeAgents makes running pods with tokens and clients.
func (m *measurement) makeAgents(ctx context.Context, prefix string, count int) ([]site.Agent, error) {
	pods, err := m.MakePods(ctx, fmt.Sprintf("%s-%d", prefix, m.agents), count)
	if err != nil {
		return nil, err
	}
	if err := m.NewTokens(ctx, pods); err != nil {
		return nil, err
	}
	agents := make([]site.Agent, count)
	for i, p := range pods {
		m.agents++
		if agents[i], err = m.NewAgent(m.agents, m.allocator, p); err != nil {
			return nil, err
		}
	}
	return agents, nil
}

// renew renews at the claim's interval, with the jitter of agents, until ctx ends.
func (m *measurement) renew(ctx context.Context, c *crowd, a site.Agent, h site.Held) {
	defer a.Close()
	every := m.RenewEvery
	for wait := time.Duration(rand.Float64() * float64(every)); ; wait = clock.Around(every, rand.Float64) {
		if scenario.Wait(ctx, wait); ctx.Err() != nil {
			return
		}
		_, err := a.Renew(ctx, m.Games, h.Name, site.RenewalOf(h))
		if ctx.Err() != nil {
			return
		}
		if c.calls.Add(1); err != nil {
			c.fail(err)
		}
	}
}

// waitingWarmUp bounds how long all waiting pods may take to be told that they wait. Then
// they are measured anyway.
const waitingWarmUp = 2 * time.Minute

// waiting measures pods that wait for a port while all are held.
func (m *measurement) waiting(ctx context.Context) (row report.Row, err error) {
	m.Say("held: making %d pods that wait for a port", m.Waiting)
	agents, err := m.makeAgents(ctx, "waiting", m.Waiting)
	if err != nil {
		return row, err
	}
	calling, stop := context.WithCancel(ctx)
	c := new(crowd)
	defer func() { stop(); c.running.Wait() }()
	for _, a := range agents {
		c.running.Go(func() { m.ask(calling, c, a) })
	}
	if err := m.warmUp(ctx, c); err != nil {
		return row, err
	}
	m.Say("held: measuring %d pods that wait, of which %d were told so", m.Waiting, c.told.Load())
	if row, err = m.rounds(ctx, fmt.Sprintf("%d waiting", m.Waiting), c.count); err != nil {
		return row, err
	}
	if c.failed.Load() > 0 {
		m.Say("held: claims of waiting pods have failed, by code: %s", c.failures())
	}
	if n := c.granted.Load(); n > 0 {
		return row, fmt.Errorf("%d waiting pods got a port of an exhausted pool", n)
	}
	return row, nil
}

// warmUp waits until all pods were told to wait, and then as long as for other pods. It
// gives up after waitingWarmUp.
func (m *measurement) warmUp(ctx context.Context, c *crowd) error {
	patience, cancel := context.WithTimeout(ctx, waitingWarmUp)
	defer cancel()
	err := scenario.Poll(patience, time.Second, func() error {
		if n := c.told.Load(); n < int64(m.Waiting) {
			return fmt.Errorf("%d of %d pods were told that they wait", n, m.Waiting)
		}
		return nil
	})
	if err != nil {
		m.Say("held: %v", err)
	} else {
		scenario.Wait(ctx, m.WarmUp)
	}
	return context.Cause(ctx)
}

// ask claims, and asks again when an agent would, until ctx ends. All pods start
// while they warm up.
func (m *measurement) ask(ctx context.Context, c *crowd, a site.Agent) {
	defer a.Close()
	var pause backoff.Backoff
	told := false
	for wait := time.Duration(rand.Float64() * float64(m.WarmUp)); ; {
		if scenario.Wait(ctx, wait); ctx.Err() != nil {
			return
		}
		_, err := a.Claim(ctx, m.Games, a.Name, site.ClaimOf(a.Pod))
		if ctx.Err() != nil {
			return
		}
		c.calls.Add(1)
		switch {
		case err == nil:
			c.granted.Add(1)
			return
		case !errors.Is(err, api.ErrExhausted):
			c.fail(err)
		case !told:
			told = true
			c.told.Add(1)
		}
		wait = pause.Next(err, rand.Float64)
	}
}
