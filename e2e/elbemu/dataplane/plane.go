// Package dataplane forwards TCP connections and UDP flows as a Network Load
// Balancer would, on loopback addresses.
//
// It does not depend on the API. Its user names the listeners, the targets for new flows,
// and the flows that must end. A flow never changes its target. Client addresses are not
// preserved: targets see a loopback address of this machine.
package dataplane

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Listener describes a listener that should be served.
type Listener struct {
	ID           string // unique among listeners
	LoadBalancer string
	At           netip.AddrPort
	TCP, UDP     bool
	Targets      []Target // for new flows
	Unserved     string   // why the listener must not be served; empty if it must
}

// Target is a destination of flows. Weight is relative to the listener's other targets; a
// target of weight 0 gets no flows.
type Target struct {
	Group  string
	Addr   netip.AddrPort
	Weight int
}

// Flow is a live TCP connection or UDP flow.
type Flow struct {
	Listener     string
	LoadBalancer string
	Group        string
	Client       netip.AddrPort
	Target       netip.AddrPort
}

// Plane is a set of listeners and their flows.
type Plane struct {
	log     *slog.Logger
	udpIdle time.Duration
	closing context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	closed  bool
	serving map[string]*serving // by listener ID
	faults  map[string]string   // listener ID to the reason why it is not served
	flows   map[*flow]struct{}
	// datagrams keeps a listener's counts after the listener is gone.
	datagrams map[string]*Datagrams
}

// serving is one listener with open sockets.
type serving struct {
	want    Listener // its Targets change; guarded by Plane.mu
	turn    int      // counts new flows; guarded by Plane.mu
	sockets []closer
}

type closer interface{ Close() error }

type flow struct {
	Flow
	cut func() // ends the flow; may be called twice and concurrently
}

// New returns a plane without listeners.
func New(log *slog.Logger) *Plane {
	ctx, cancel := context.WithCancel(context.Background())
	return &Plane{
		log: log, udpIdle: udpIdle, closing: ctx, stop: cancel,
		serving: map[string]*serving{}, faults: map[string]string{}, flows: map[*flow]struct{}{},
		datagrams: map[string]*Datagrams{},
	}
}

// Sync opens and closes sockets so that exactly the wanted listeners are served. When a
// listener goes, its established TCP connections stay and its UDP flows end. If a socket
// cannot be bound, Sync logs that, Faults returns it, and the next Sync tries again.
func (p *Plane) Sync(want []Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	wanted := map[string]bool{}
	for _, l := range want {
		wanted[l.ID] = l.Unserved == ""
	}
	for id, s := range p.serving {
		if !wanted[id] || !s.servesStill(want) {
			p.close(id, s)
		}
	}
	before := p.faults
	p.faults = map[string]string{}
	for _, l := range want {
		fault := p.ensure(l)
		if fault == "" {
			continue
		}
		p.faults[l.ID] = fault
		if before[l.ID] != fault {
			p.log.Error("listener not served", "listener", l.ID, "address", l.At, "reason", fault)
		}
	}
}

func (s *serving) servesStill(want []Listener) bool {
	return slices.ContainsFunc(want, func(l Listener) bool {
		return l.ID == s.want.ID && l.At == s.want.At && l.TCP == s.want.TCP && l.UDP == s.want.UDP
	})
}

// ensure serves the listener, or returns why it cannot.
func (p *Plane) ensure(l Listener) (fault string) {
	if s, ok := p.serving[l.ID]; ok {
		s.want.Targets = l.Targets
		return ""
	}
	if l.Unserved != "" {
		return l.Unserved
	}
	s := &serving{want: l}
	if err := p.open(s); err != nil {
		for _, socket := range s.sockets {
			p.discard(socket)
		}
		return err.Error()
	}
	p.serving[l.ID] = s
	return ""
}

func (p *Plane) close(id string, s *serving) {
	delete(p.serving, id)
	for _, socket := range s.sockets {
		p.discard(socket)
	}
}

// discard closes something that is no longer needed. An error can only mean that it is
// closed already, so it is ignored.
func (p *Plane) discard(c closer) {
	if err := c.Close(); err != nil {
		p.log.Debug("socket not closed", "err", err)
	}
}

// Faults returns the reason for each listener that is not served.
func (p *Plane) Faults() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.faults)
}

// Failing reports whether a wanted listener is not served.
func (p *Plane) Failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.faults) > 0
}

// Flows returns all live flows, in no particular order.
func (p *Plane) Flows() []Flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Flow
	for f := range p.flows {
		all = append(all, f.Flow)
	}
	return all
}

// Cut ends all flows that match. TCP connections are reset.
func (p *Plane) Cut(match func(Flow) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for f := range p.flows {
		if match(f.Flow) {
			f.cut()
		}
	}
}

// Close closes all sockets, ends all flows and waits for their goroutines.
func (p *Plane) Close() {
	p.mu.Lock()
	p.closed = true
	for id, s := range p.serving {
		p.close(id, s)
	}
	for f := range p.flows {
		f.cut()
	}
	p.mu.Unlock()
	p.stop()
	p.running.Wait()
}

// choose picks the target of a new flow by weighted round robin.
func (p *Plane) choose(s *serving) (Target, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	for _, t := range s.want.Targets {
		total += t.Weight
	}
	if total == 0 {
		return Target{}, false
	}
	place := s.turn % total
	s.turn++
	for _, t := range s.want.Targets {
		if place < t.Weight {
			return t, true
		}
		place -= t.Weight
	}
	return Target{}, false
}

// begin registers a flow. It returns false if the plane is closing. The caller must end
// the flow.
func (p *Plane) begin(f *flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.flows[f] = struct{}{}
	return true
}

func (p *Plane) end(f *flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flows, f)
}
