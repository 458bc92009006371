package pacer

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// line has the claims of the cache that have ports to bind. It is kept up to date change by
// change: when a fleet starts, thousands wait, and each asks now and then. Only the goroutine
// that decides batches uses it.
type line struct {
	claims, ports func() ledger.Changes
	byClaim       map[string]*waitingCreate
	// byPort are the claims of the line by the leases of their ports.
	byPort map[string]string
	// oldestFirst has each claim of byClaim.
	oldestFirst []*waitingCreate
}

// waitingCreate is one claim that waits for AWS calls.
type waitingCreate struct {
	claim     string
	createdAt time.Time
	class     budget.Class
	// cost is that of all calls it still has to make.
	cost budget.Tokens
	// before is what younger creates wait for.
	before budget.Tokens
	// requests are the claim's requests in the present batch.
	requests []*request

	// record is the claim in the cache; nil if the claim is here because of its requests.
	record *ledger.Record[ledger.Claim]
	// silent is true if its agent is silent. Before checkAt that cannot be.
	silent  bool
	checkAt time.Time
	// asks is true if the present batch has requests of the claim.
	asks bool
}

// newWaiting makes a claim that waits and whose calls cost that much. A claim whose target
// groups are all there holds up nobody until it asks: its listeners are due within seconds,
// and the target group of a younger one has to wait as long again.
func newWaiting(claim string, createdAt time.Time, c costs, asks bool) *waitingCreate {
	w := &waitingCreate{claim: claim, createdAt: createdAt, cost: c.all()}
	if asks || c.create != (budget.Tokens{}) {
		w.before = w.cost
	}
	return w
}

func byAge(a, b *waitingCreate) int {
	return cmp.Or(a.createdAt.Compare(b.createdAt), strings.Compare(a.claim, b.claim))
}

// follow brings the line up to date.
func (p *Pacer) follow() {
	l := &p.line
	if l.claims == nil {
		*l = line{
			claims: p.Claims.Follow(), ports: p.Ports.Follow(),
			byClaim: make(map[string]*waitingCreate), byPort: make(map[string]string),
		}
	}
	claims, ports := l.claims(), l.ports()
	changed := make(map[string]bool)
	if claims.All || ports.All {
		for claim := range l.byClaim {
			changed[claim] = true
		}
		for _, r := range p.Claims.CachedAll() {
			changed[r.Name] = true
		}
	}
	for _, claim := range claims.Names {
		changed[claim] = true
	}
	for _, name := range ports.Names {
		port, _ := p.Ports.Cached(name)
		changed[l.byPort[name]], changed[port.Value.Holder] = true, true
	}
	delete(changed, "")
	for claim := range changed {
		l.remove(claim)
		if r, exists := p.Claims.Cached(claim); exists {
			p.join(r)
		}
	}
}

// join adds a claim to the line if it has a port to bind.
func (p *Pacer) join(r ledger.Record[ledger.Claim]) {
	if r.Value.State != ledger.Granted || r.Value.Retries.Paused() {
		return
	}
	ports, unbound := make([]ledger.Port, len(r.Value.Ports)), false
	for i, planned := range r.Value.Ports {
		port, _ := p.Ports.Cached(planned.Fence.Lease)
		if port.Value.Holds(r.Name, planned.Fence) {
			ports[i] = port.Value
			unbound = unbound || port.Value.State == ledger.Claimed
		}
	}
	if !unbound {
		return
	}
	w := newWaiting(r.Name, r.CreatedAt, costOf(r.Value, ports), false)
	w.record = &r
	p.line.byClaim[w.claim] = w
	for _, planned := range r.Value.Ports {
		p.line.byPort[planned.Fence.Lease] = w.claim
	}
	at, _ := slices.BinarySearchFunc(p.line.oldestFirst, w, byAge)
	p.line.oldestFirst = slices.Insert(p.line.oldestFirst, at, w)
}

// remove removes a claim from the line, if it is there.
func (l *line) remove(claim string) {
	w := l.byClaim[claim]
	if w == nil {
		return
	}
	delete(l.byClaim, claim)
	for _, planned := range w.record.Value.Ports {
		if l.byPort[planned.Fence.Lease] == claim {
			delete(l.byPort, planned.Fence.Lease)
		}
	}
	at, _ := slices.BinarySearchFunc(l.oldestFirst, w, byAge)
	l.oldestFirst = slices.Delete(l.oldestFirst, at, at+1)
}

// isSilent reports whether the claim did not change for two renewals. Its agent may be dead,
// and then the janitor takes over.
func (p *Pacer) isSilent(w *waitingCreate, now time.Time) bool {
	if w.silent || now.Before(w.checkAt) {
		return w.silent
	}
	left := 2*p.RenewEvery - p.Age(w.claim, w.record.Version)
	w.silent, w.checkAt = left <= 0, now.Add(left)
	return w.silent
}
