package dataplane

import (
	"maps"
	"net/netip"
)

// Datagrams counts the datagrams that clients sent to one listener, by result. It excludes
// those that the kernel dropped before the plane received them.
type Datagrams struct {
	Forwarded map[netip.AddrPort]int // by target
	Dropped   int                    // there was no target, or its host refused
}

// Datagrams returns the counts of every listener that was ever served, by ID.
func (p *Plane) Datagrams() map[string]Datagrams {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]Datagrams{}
	for id, d := range p.datagrams {
		all[id] = Datagrams{maps.Clone(d.Forwarded), d.Dropped}
	}
	return all
}

func (p *Plane) forwarded(listener string, target netip.AddrPort) {
	p.count(listener, func(d *Datagrams) { d.Forwarded[target]++ })
}

func (p *Plane) dropped(listener string) {
	p.count(listener, func(d *Datagrams) { d.Dropped++ })
}

func (p *Plane) count(listener string, add func(*Datagrams)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.datagrams[listener]
	if !ok {
		d = &Datagrams{Forwarded: map[netip.AddrPort]int{}}
		p.datagrams[listener] = d
	}
	add(d)
}
