package soak

import (
	"slices"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/e2e/rig"
)

// What is counted of the ledger.
const (
	portsGranted  = "ports granted"
	portsReleased = "ports released by their pods"
	portsTaken    = "ports reclaimed from pods that are gone"
	claimsTaken   = "claims reclaimed from pods that are gone"
	portsFree     = "ports free again"
	portsReturned = "ports back to a pod of the same name"
)

// judge follows the ledger. It holds S4, which the rig cannot because it does not
// know which pods were told to end, counts, and measures how long reclaiming takes.
type judge struct {
	diary *diary
	books *books

	mu sync.Mutex // guards all below
	// ports is port lease → its newest version, claims is claim lease → the same, and
	// renewed when its newest version was seen.
	ports   map[string]ledger.Port
	claims  map[string]ledger.Claim
	renewed map[string]time.Time
	// taken is port lease → who lost it to the janitor, until it is free.
	taken map[string]loss
	// disturbed counts allocators that are failing, and calm is since when none is.
	disturbed int
	calm      time.Time
	samples   []sample
	// violations are never forgotten.
	violations []error
}

// loss is a holding that the janitor ended.
type loss struct {
	of         *life
	generation int
	// renewed is when the claim was seen to change for the last time before.
	renewed time.Time
}

func newJudge(d *diary, b *books) *judge {
	return &judge{
		diary: d, books: b, ports: make(map[string]ledger.Port), claims: make(map[string]ledger.Claim),
		renewed: make(map[string]time.Time), taken: make(map[string]loss),
	}
}

// violate remembers a broken promise.
func (j *judge) violate(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.violateLocked(err)
}

func (j *judge) violateLocked(err error) {
	j.violations = append(j.violations, err)
	j.diary.note("VIOLATION: %v", err)
}

// found are the broken promises so far.
func (j *judge) found() []error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.violations)
}

// disturb notes that an allocator fails, until the function that it gives is called.
func (j *judge) disturb() (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.disturbed++
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.disturbed--
		j.calm = time.Now()
	}
}

// seePort follows one port.
func (j *judge) seePort(r rig.PortRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, now := j.ports[r.Name], r.Value
	j.ports[r.Name] = now
	if before.State != now.State || before.Generation != now.Generation || before.TargetGroupARN != now.TargetGroupARN {
		j.diary.note("port %s: %s, generation %d of %s %s, target group %s", r.Name, now.State, now.Generation, now.Pod, now.PodUID, now.TargetGroupARN)
	}
	if before.Generation < now.Generation {
		j.diary.count(portsGranted)
		if before.State == ledger.Cooldown {
			j.diary.count(portsReturned)
			delete(j.taken, r.Name)
		}
	}
	if err := j.keepsLocked(r.Name, before, now); err != nil {
		j.violateLocked(err)
	}
	if !now.Held() && now.State != ledger.Cooldown && (before.Held() || before.State == ledger.Cooldown) {
		j.diary.count(portsFree)
		j.measureLocked(r.Name, now)
	}
}

// keepsLocked is S4: who was not told to end keeps a port of which it has recorded
// the target group.
func (j *judge) keepsLocked(name string, before, now ledger.Port) error {
	c := invariants.PortChange{Name: name, Before: &before, Now: &now}
	planned := before.State == ledger.Claimed && before.TargetGroupARN == ""
	if planned || !c.TakenBack() {
		return nil
	}
	l := j.books.of(before.PodUID)
	if l == nil || j.books.read(l).told {
		return nil
	}
	return invariants.Violated("S4", "port %s was taken from pod %s (%s), which lives and was not told to end: %s", name, before.Pod, before.PodUID, c)
}

// seeClaim follows one claim. Whoever ends a claim before its pod begins to be removed
// is the pod; afterwards it is the janitor, or another pod that has the address.
func (j *judge) seeClaim(r rig.ClaimRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, now := j.claims[r.Name], r.Value
	j.claims[r.Name] = now
	if before.State != now.State {
		j.diary.note("claim of %s %s: %s, %d ports", now.Pod, now.PodUID, now.State, len(now.Ports))
	}
	renewed := j.renewed[r.Name]
	j.renewed[r.Name] = time.Now()
	if now.State != ledger.ClaimReleasing || before.State == ledger.ClaimReleasing {
		return
	}
	l := j.books.of(now.PodUID)
	taken := l != nil && j.books.read(l).removing
	if taken {
		j.diary.count(claimsTaken)
	}
	for _, p := range now.Ports {
		if !j.ports[p.Fence.Lease].Holds(r.Name, p.Fence) {
			continue
		}
		if !taken {
			j.diary.count(portsReleased)
			continue
		}
		j.diary.count(portsTaken)
		j.taken[p.Fence.Lease] = loss{of: l, generation: p.Fence.Generation, renewed: renewed}
	}
}
