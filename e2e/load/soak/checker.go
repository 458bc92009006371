package soak

import (
	"slices"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/e2e/rig"
)

// These counters follow the ledger.
const (
	portsGranted  = "ports granted"
	portsReleased = "ports released by their pods"
	portsTaken    = "ports reclaimed from pods that are gone"
	claimsTaken   = "claims reclaimed from pods that are gone"
	portsFree     = "ports free again"
	portsReturned = "ports back to a pod of the same name"
)

// checker follows the ledger. It checks S4, which the rig cannot do because it does not
// know which pods were told to end. It also counts, and measures how long reclaiming
// takes.
type checker struct {
	history  *history
	registry *registry

	mu sync.Mutex // guards all below
	// ports is port lease → its newest version; claims is claim lease → its newest
	// version; renewed is claim lease → when that version was observed.
	ports   map[string]ledger.Port
	claims  map[string]ledger.Claim
	renewed map[string]time.Time
	// reclaimed is port lease → the holding that the janitor ended, until the port is
	// free.
	reclaimed map[string]loss
	// failing counts the allocators that are failing; stable is when the last of them
	// recovered.
	failing int
	stable  time.Time
	samples []sample
	// violations are kept until the end.
	violations []error
}

// loss is a holding that the janitor ended.
type loss struct {
	of         *gamePod
	generation int
	// renewed is when the claim was last observed to change before.
	renewed time.Time
}

func newChecker(d *history, b *registry) *checker {
	return &checker{
		history: d, registry: b, ports: make(map[string]ledger.Port), claims: make(map[string]ledger.Claim),
		renewed: make(map[string]time.Time), reclaimed: make(map[string]loss),
	}
}

// violate records a violation.
func (j *checker) violate(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.violateLocked(err)
}

func (j *checker) violateLocked(err error) {
	j.violations = append(j.violations, err)
	j.history.log("VIOLATION: %v", err)
}

// found returns the violations so far.
func (j *checker) found() []error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.violations)
}

// replicaFails records that an allocator is failing until the returned function is
// called.
func (j *checker) replicaFails() (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failing++
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.failing--
		j.stable = time.Now()
	}
}

// observePort processes a new version of a port lease.
func (j *checker) observePort(r rig.PortRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, now := j.ports[r.Name], r.Value
	j.ports[r.Name] = now
	if before.State != now.State || before.Generation != now.Generation || before.TargetGroupARN != now.TargetGroupARN {
		j.history.log("port %s: %s, generation %d of %s %s, target group %s", r.Name, now.State, now.Generation, now.Pod, now.PodUID, now.TargetGroupARN)
	}
	if before.Generation < now.Generation {
		j.history.count(portsGranted)
		if before.State == ledger.Cooldown {
			j.history.count(portsReturned)
			delete(j.reclaimed, r.Name)
		}
	}
	if err := j.checkKeptLocked(r.Name, before, now); err != nil {
		j.violateLocked(err)
	}
	if !now.Held() && now.State != ledger.Cooldown && (before.Held() || before.State == ledger.Cooldown) {
		j.history.count(portsFree)
		j.measureLocked(r.Name, now)
	}
}

// checkKeptLocked checks S4: a pod that was not told to end keeps a port whose target
// group it has recorded.
func (j *checker) checkKeptLocked(name string, before, now ledger.Port) error {
	c := invariants.PortChange{Name: name, Before: &before, Now: &now}
	planned := before.State == ledger.Claimed && before.TargetGroupARN == ""
	if planned || !c.TakenBack() {
		return nil
	}
	l := j.registry.byUID(before.PodUID)
	if l == nil || j.registry.snapshot(l).terminating {
		return nil
	}
	return invariants.Violated("S4", "port %s was taken from pod %s (%s), which is alive and was not told to end: %s", name, before.Pod, before.PodUID, c)
}

// observeClaim processes a new version of a claim lease. Before the pod's removal
// begins, only the pod itself releases its claim. Afterwards it is the janitor, or
// another pod that has the address.
func (j *checker) observeClaim(r rig.ClaimRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, now := j.claims[r.Name], r.Value
	j.claims[r.Name] = now
	if before.State != now.State {
		j.history.log("claim of %s %s: %s, %d ports", now.Pod, now.PodUID, now.State, len(now.Ports))
	}
	renewed := j.renewed[r.Name]
	j.renewed[r.Name] = time.Now()
	if now.State != ledger.ClaimReleasing || before.State == ledger.ClaimReleasing {
		return
	}
	l := j.registry.byUID(now.PodUID)
	reclaimed := l != nil && j.registry.snapshot(l).removing
	if reclaimed {
		j.history.count(claimsTaken)
	}
	for _, p := range now.Ports {
		if !j.ports[p.Fence.Lease].Holds(r.Name, p.Fence) {
			continue
		}
		if !reclaimed {
			j.history.count(portsReleased)
			continue
		}
		j.history.count(portsTaken)
		j.reclaimed[p.Fence.Lease] = loss{of: l, generation: p.Fence.Generation, renewed: renewed}
	}
}
