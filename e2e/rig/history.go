package rig

import (
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
)

// history follows every write of every port lease and collects the violations.
type history struct {
	emulator *elbemu.Emulator
	cooldown time.Duration
	ledger   string
	// stop ends the watch and waits for its end.
	stop func()

	mu sync.Mutex
	// last maps a port lease to its newest version.
	last       map[string]PortRecord
	violations []error
}

func (r *Rig) watch() (*history, error) {
	h := &history{emulator: r.Emulator, cooldown: r.Cooldown, ledger: r.Ledger, last: make(map[string]PortRecord)}
	var err error
	if h.stop, err = r.follow("portlease.dev/kind=port", cache.ResourceEventHandlerFuncs{
		AddFunc:    h.see,
		UpdateFunc: func(_, o any) { h.see(o) },
		DeleteFunc: h.deleted,
	}); err != nil {
		return nil, err
	}
	return h, nil
}

// violate records a violation that another check found.
func (h *history) violate(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, err)
}

func (h *history) check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.violations...)
}

// deleted forgets a lease that an admin deleted: its history starts over.
func (h *history) deleted(o any) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	if l, ok := o.(*coordinationv1.Lease); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.last, l.Name)
	}
}

func (h *history) see(o any) {
	l, ok := o.(*coordinationv1.Lease)
	if !ok {
		return
	}
	now, err := readPort(l)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.violations = append(h.violations, err)
		return
	}
	before, known := h.last[l.Name]
	h.last[l.Name] = now
	if !known || before.UID != now.UID { // a recreated lease starts a new history
		return
	}
	if err := h.checkChange(l.Name, before.Value, now.Value); err != nil {
		h.violations = append(h.violations, err)
	}
}

// checkChange checks one write of a port lease. If the write frees the port, it also
// checks that AWS has nothing left.
func (h *history) checkChange(name string, before, now ledger.Port) error {
	c := invariants.PortChange{Name: name, Before: &before, Now: &now, CooledDown: now.UpdatedAt.Sub(before.UpdatedAt) >= h.cooldown}
	err := c.Check()
	if err == nil && (c.Confirmed() || c.NewHolder()) {
		err = c.Unbound(h.emulator.Snapshot(), h.ledger, before.TargetGroupARN)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}
