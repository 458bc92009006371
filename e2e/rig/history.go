package rig

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// history follows every change of every port lease and remembers those that no
// rule allows.
type history struct {
	emulator *elbemu.Emulator
	cooldown time.Duration
	ledger   string
	// stop returns when nothing is followed any more.
	stop func()

	mu sync.Mutex
	// last is port lease → its newest version.
	last map[string]PortRecord
	// violations are never forgotten.
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

// violate remembers a broken promise that somebody else saw.
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

// deleted follows a person who deletes a lease: its history starts over.
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
	if !known {
		return
	}
	if err := h.judge(before.Value, now.Value); err != nil {
		h.violations = append(h.violations, fmt.Errorf("port %s went from %s to %s: %w", l.Name, show(before.Value), show(now.Value), err))
	}
}

func show(p ledger.Port) string {
	return fmt.Sprintf("%s(generation %d, holder %q)", p.State, p.Generation, p.Holder)
}

// judge holds one change of a port against the states it may go through.
func (h *history) judge(before, now ledger.Port) error {
	if now.Generation < before.Generation {
		return errors.New("S2: the generation fell")
	}
	if now.Generation > before.Generation {
		return h.judgeNewHolder(before, now)
	}
	if now.Holder != "" && now.Holder != before.Holder {
		return errors.New("S1: the holder changed within one generation")
	}
	allowed := map[ledger.PortState][]ledger.PortState{
		ledger.Free:      {ledger.Free, ledger.Blocked},
		ledger.Blocked:   {ledger.Blocked, ledger.Free},
		ledger.Claimed:   {ledger.Claimed, ledger.Bound, ledger.Free, ledger.Blocked, ledger.Releasing},
		ledger.Bound:     {ledger.Bound, ledger.Claimed, ledger.Releasing},
		ledger.Releasing: {ledger.Releasing, ledger.Cooldown},
		ledger.Cooldown:  {ledger.Cooldown, ledger.Free, ledger.Blocked},
	}
	for _, state := range allowed[before.State] {
		if state == now.State {
			if !now.Held() && before.State == ledger.Claimed && before.TargetGroupARN != "" {
				return errors.New("S2: a port with a recorded target group became free without a sweep")
			}
			if state == ledger.Cooldown && before.State == ledger.Releasing {
				return h.judgeConfirmed(before)
			}
			if state != ledger.Cooldown && before.State == ledger.Cooldown && now.UpdatedAt.Sub(before.UpdatedAt) < h.cooldown {
				return errors.New("S2: the cooldown was cut short")
			}
			return nil
		}
	}
	return errors.New("S2: no such step")
}

// judgeConfirmed is S2: what the ledger calls gone is gone.
func (h *history) judgeConfirmed(before ledger.Port) error {
	s := h.emulator.Snapshot()
	for _, g := range s.TargetGroups {
		if g.ARN == before.TargetGroupARN {
			return fmt.Errorf("S2: target group %s is still there", g.ARN)
		}
	}
	lease := ledger.PortName(ledger.LoadBalancerID(before.LoadBalancerARN), before.ListenerPort)
	for _, l := range s.Listeners {
		// Somebody may have moved or redirected it: its tags tell.
		if t, ok := elb.ReadTags(l.Tags); ok && t.Ledger == h.ledger && t.Fence() == before.Fence(lease) {
			return fmt.Errorf("S2: listener %s is still there", l.ARN)
		}
	}
	return nil
}

// judgeNewHolder is S2: a new holder comes only after the binding before is
// gone, and after the cooldown unless it is the same pod coming back.
func (h *history) judgeNewHolder(before, now ledger.Port) error {
	if now.Generation != before.Generation+1 || now.State != ledger.Claimed {
		return errors.New("S1: a generation was skipped")
	}
	comesBack := before.State == ledger.Cooldown && before.Namespace == now.Namespace && before.Pod == now.Pod
	if before.State != ledger.Free && !comesBack {
		return errors.New("S2: a new holder before the port was free")
	}
	for _, l := range h.emulator.Snapshot().Listeners {
		if l.LoadBalancerARN != now.LoadBalancerARN || l.Port != now.ListenerPort || l.Tags[elb.TagLedger] != h.ledger {
			continue
		}
		if generation, err := strconv.Atoi(l.Tags[elb.TagGeneration]); err != nil || generation < now.Generation {
			return fmt.Errorf("S2: the listener of generation %s is still there", l.Tags[elb.TagGeneration])
		}
	}
	return nil
}
