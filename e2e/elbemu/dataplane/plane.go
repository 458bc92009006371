// Package dataplane forwards TCP connections and UDP flows as a Network Load
// Balancer would, on loopback addresses.
//
// It knows nothing of the API: its user says what should be listening and which
// targets new flows may go to, and names flows that must end. A flow keeps its
// target for life. Client addresses are not preserved: targets see a loopback
// address of this machine.
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

// Listener is something that should be listening.
type Listener struct {
	ID           string // unique among listeners
	LoadBalancer string
	At           netip.AddrPort
	TCP, UDP     bool
	Targets      []Target // that new flows may go to
	Unserved     string   // why no socket shall be opened; empty to open
}

// Target is where flows may go. Weight is relative to the other targets of the
// listener; one of 0 gets no flows.
type Target struct {
	Group  string
	Addr   netip.AddrPort
	Weight int
}

// Flow is a TCP connection or UDP flow that lives.
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

	mu      sync.Mutex // guards all below
	closed  bool
	serving map[string]*serving // listener ID →
	faults  map[string]string   // listener ID → why it is not served
	flows   map[*flow]struct{}
	// datagrams of each listener ID stay when the listener goes.
	datagrams map[string]*Datagrams
}

// serving is one listener with open sockets.
type serving struct {
	want    Listener // its Targets change; Plane.mu guards them
	turn    int      // counts new flows; Plane.mu guards it
	sockets []closer
}

type closer interface{ Close() error }

type flow struct {
	Flow
	cut func() // ends it; may be called twice and from anywhere
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

// Sync opens and closes sockets so that exactly the wanted listeners listen.
// Established TCP connections of a listener that goes live on; its UDP flows
// end. A socket that cannot be bound is logged, named by Faults, and tried
// again by the next Sync.
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

// ensure returns why the listener is not served; empty when it is.
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

// discard closes what nobody needs any more; all that a failure could mean is
// that it is closed already.
func (p *Plane) discard(c closer) {
	if err := c.Close(); err != nil {
		p.log.Debug("socket not closed", "err", err)
	}
}

// Faults tells for each listener that is not served why.
func (p *Plane) Faults() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.faults)
}

// Failing tells whether a wanted listener is not served.
func (p *Plane) Failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.faults) > 0
}

// Flows are all that live, in no order.
func (p *Plane) Flows() []Flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Flow
	for f := range p.flows {
		all = append(all, f.Flow)
	}
	return all
}

// Cut ends all flows that match: TCP connections are reset.
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

// choose picks the target of a new flow by weighted turns.
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

// begin registers a flow; false when the plane closes. The caller ends it.
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
