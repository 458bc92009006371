package elbemu

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/elbemu/dataplane"
)

// Cut names flows that must end: those of a load balancer, or those to one target of a
// target group.
type Cut struct {
	LoadBalancer string
	TargetGroup  string
	Target       string
	Port         int
}

// cutFlows queues the cut for the data plane.
func (s *state) cutFlows(c Cut) {
	if s.cfg.DataPlane {
		s.cuts = append(s.cuts, c)
	}
}

const (
	// tick is how often the data plane checks for changes that only time causes.
	tick = 25 * time.Millisecond
	// rebuildEvery bounds how often routes are rebuilt because of delays, and how often
	// failed sockets are retried.
	rebuildEvery = 250 * time.Millisecond
	// checksAtOnce bounds the number of concurrent health checks.
	checksAtOnce = 64
)

// forwarding applies changes of the state to the data plane and runs the health checks.
type forwarding struct {
	e         *Emulator
	plane     *dataplane.Plane
	addresses *dataplane.Addresses
	wakeups   chan struct{}
	slots     chan struct{} // one for each running health check
	running   sync.WaitGroup

	mu       sync.Mutex // serializes sync; taken before Emulator.mu
	seen     uint64     // the state version that the plane has
	lastSync time.Time
}

func (e *Emulator) startForwarding() error {
	addresses, err := dataplane.ReserveAddresses()
	if err != nil {
		return fmt.Errorf("reserving loopback addresses: %w", err)
	}
	f := &forwarding{
		e:         e,
		plane:     dataplane.New(e.log),
		addresses: addresses,
		wakeups:   make(chan struct{}, 1),
		slots:     make(chan struct{}, checksAtOnce),
	}
	e.forward = f
	e.state.place = f.place
	f.running.Go(f.run)
	return nil
}

func (f *forwarding) place() (netip.Addr, *APIError) {
	address, err := f.addresses.Next()
	if err != nil {
		return netip.Addr{}, &APIError{Status: http.StatusInternalServerError, Code: codeInternalFailure, Message: err.Error()}
	}
	return address, nil
}

func (f *forwarding) close() error {
	f.running.Wait()
	f.plane.Close()
	return f.addresses.Release()
}

// wake makes the loop run at once.
func (f *forwarding) wake() {
	select {
	case f.wakeups <- struct{}{}:
	default:
	}
}

// run syncs the plane and starts health checks until the emulator closes.
func (f *forwarding) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-f.e.closing.Done():
			return
		case <-ticker.C:
		case <-f.wakeups:
		}
		for _, p := range f.dueChecks() {
			f.start(p)
		}
		f.sync()
	}
}

// sync applies the current state to the plane. Every change that was made before the call
// is in effect when it returns.
func (f *forwarding) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.e
	if e.closing.Err() != nil {
		return
	}
	e.mu.Lock()
	s := e.state
	s.now = e.cfg.Now()
	cuts := s.cuts
	s.cuts = nil
	stale := s.version != f.seen
	lagging := e.cfg.Delays.propagation() > 0 || f.plane.Failing()
	if !stale && lagging && time.Since(f.lastSync) >= rebuildEvery {
		stale = true
	}
	var want []dataplane.Listener
	if stale {
		want = s.routes()
		f.seen, f.lastSync = s.version, time.Now()
	}
	e.mu.Unlock()

	if stale {
		f.plane.Sync(want)
	}
	for _, c := range cuts {
		f.plane.Cut(c.matches)
	}
}

func (c Cut) matches(flow dataplane.Flow) bool {
	if c.LoadBalancer != "" {
		return flow.LoadBalancer == c.LoadBalancer
	}
	return flow.Group == c.TargetGroup && flow.Target.Addr().String() == c.Target && int(flow.Target.Port()) == c.Port
}

// dueChecks updates the state for the time that has passed and returns the health checks
// that are due.
func (f *forwarding) dueChecks() []probe {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state
	s.now = e.cfg.Now()
	var probes []probe
	for _, g := range s.targetGroups {
		s.removeDrained(g)
		for _, t := range g.targets {
			switch {
			case e.cfg.Healthy != nil:
				s.advance(g, t)
			case !t.health.checking && s.due(g, t):
				t.health.checking = true
				probes = append(probes, newProbe(g, t, s.now))
			}
		}
	}
	return probes
}

// start runs one health check in the background.
func (f *forwarding) start(p probe) {
	f.running.Go(func() {
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		case <-f.e.closing.Done():
			return
		}
		ctx, cancel := context.WithTimeout(f.e.closing, p.timeout)
		defer cancel()
		err := p.run(ctx)
		if f.e.closing.Err() != nil {
			return
		}
		f.record(p, err)
		f.sync()
	})
}

func (f *forwarding) record(p probe, err error) {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state
	s.now = e.cfg.Now()
	t := p.target
	t.health.checking = false
	if p.epoch != p.group.attachedAt || !s.checked(p.group, t) {
		return // outdated: the group was attached again, or the target is no longer checked
	}
	before := t.health.verdict
	s.observe(p.group, t, err == nil, p.begun)
	if t.health.verdict != before {
		e.log.Info("target health changed", "targetGroup", p.group.resource.arn, "target", t.id, "port", t.port, "healthy", err == nil, "err", err)
	}
}
