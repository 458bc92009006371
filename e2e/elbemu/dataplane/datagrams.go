package dataplane

import (
	"maps"
	"net/netip"
)

// Datagrams are those that clients sent to one listener, by what became of them.
// What the kernel dropped before they were received is not among them.
type Datagrams struct {
	Forwarded map[netip.AddrPort]int // by target
	Dropped   int                    // for want of a target, or because its host refused
}

// Datagrams of each listener that was ever served, by its ID.
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
