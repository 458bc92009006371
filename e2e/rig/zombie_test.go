package rig_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// pausing freezes an agent at one of its calls: while the call is in flight, or after
// it was applied and before the agent gets the answer.
type pausing struct {
	pod  *rig.Pod
	at   string
	when moment
	// paused is closed once the agent is frozen. Closing arrive sends a call in
	// flight on its way, and arrived is closed once it is applied.
	paused, arrive, arrived chan struct{}

	mu sync.Mutex
	// armed is set while the next call named at freezes the agent, once.
	armed bool
	names []string
	// refused counts the calls that an allocator refused.
	refused int
}

// pauseAt freezes a pod's agent at the first call of that name after arm. With an
// empty name it only records the calls.
func pauseAt(t *testing.T, p *rig.Pod, at string, when moment) *pausing {
	z := &pausing{pod: p, at: at, when: when, paused: make(chan struct{}), arrive: make(chan struct{}), arrived: make(chan struct{})}
	freeze := func() {
		if err := p.Pause(); err != nil {
			t.Error(err)
		}
		close(z.paused)
		if when == before {
			<-z.arrive
		}
	}
	p.Follow(func(name string) elbemu.Fault {
		switch {
		case !z.shouldFreeze(name):
			return elbemu.Fault{}
		case when == before:
			return elbemu.Fault{Before: func(context.Context) { freeze() }, After: func(elbemu.Outcome) { close(z.arrived) }}
		}
		return elbemu.Fault{After: func(elbemu.Outcome) { close(z.arrived); freeze() }}
	}, func(name string) rig.CallFault {
		note := func(status int) { z.note(name, status) }
		switch {
		case !z.shouldFreeze(name):
			return rig.CallFault{After: note}
		case when == before:
			return rig.CallFault{Before: freeze, After: func(status int) { note(status); close(z.arrived) }}
		}
		return rig.CallFault{After: func(int) { close(z.arrived); freeze() }}
	})
	return z
}

func (z *pausing) arm() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.armed = true
}

func (z *pausing) shouldFreeze(name string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.names = append(z.names, name)
	if !z.armed || name != z.at {
		return false
	}
	z.armed = false
	return true
}

func (z *pausing) note(name string, status int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if strings.Contains(name, " claim") && status >= 400 {
		z.refused++
	}
}

// calls gives the sorted names of all calls so far, each once.
func (z *pausing) calls() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(z.names)))
}

// gaveUp returns nil once an allocator has refused a call of the agent, or the agent
// has ended.
func (z *pausing) gaveUp() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.refused == 0 && z.pod.Running() {
		return errors.New("the allocator has refused none of its calls")
	}
	return nil
}

// TestZombieOfEveryPhase freezes agents at each of their calls and force-deletes
// their pods. Then an heir gets what the zombie had: a pod of the same name its port,
// or another pod its IP. The call in flight arrives, and then the agent resumes.
// The heir keeps all that it has; the zombie gives up and leaves nothing behind.
func TestZombieOfEveryPhase(t *testing.T) {
	t.Parallel()
	// The cooldown outlasts the interval of the replicas' AWS listings, so that the
	// next pod of a name gets that name's port.
	r := start(t, rig.Config{LoadBalancers: 2, ListenerPorts: "30000-30039", Cooldown: 3 * time.Second, AgentGrace: time.Second, Replicas: 2})
	ctx := t.Context()
	p, err := r.NewPod(ctx, "undisturbed", "game=7777/UDP")
	must(t, err)
	life := pauseAt(t, p, "", before)
	must(t, p.Start(), p.WaitBound(ctx))
	must(t, rig.Eventually(ctx, "a renewal", func() error {
		if !slices.Contains(life.calls(), "POST claim/renew") {
			return errors.New("there was none yet")
		}
		return nil
	}))
	living := life.calls()
	must(t, p.Terminate(ctx))

	// The cases mostly wait for expiring claims and cooldowns, so many can run at
	// once.
	gate := make(chan struct{}, 8)
	for _, phase := range []struct {
		name  string
		calls []string
	}{
		{"living", living},
		{"leaving", []string{"PATCH pods", "POST claim/release", "DescribeTags", "DeleteListener", "DeleteTargetGroup", "DELETE claim"}},
	} {
		for n, name := range phase.calls {
			for _, when := range []moment{before, after} {
				for _, inherits := range []string{"port", "address"} {
					t.Run(fmt.Sprintf("%s, %s %s, heir of its %s", phase.name, when, strings.ReplaceAll(name, "/", " "), inherits), func(t *testing.T) {
						t.Parallel()
						gate <- struct{}{}
						defer func() { <-gate }()
						p, err := r.NewPod(t.Context(), fmt.Sprintf("%s-%s-%d-%s", phase.name, when, n, inherits), "game=7777/UDP")
						must(t, err)
						z := pauseAt(t, p, name, when)
						freeze(t, z, phase.name == "leaving")
						resumeAfterHandover(t, r, z, inherits == "address")
					})
				}
			}
		}
	}
}

// freeze runs the zombie until it is paused, and force-deletes its pod.
func freeze(t *testing.T, z *pausing, leaving bool) {
	t.Helper()
	ctx := t.Context()
	if !leaving {
		z.arm()
	}
	must(t, z.pod.Start())
	if leaving {
		must(t, z.pod.WaitAnnounced(ctx))
		z.arm()
		must(t, z.pod.Signal())
	}
	select {
	case <-z.paused:
	case <-time.After(30 * time.Second):
		t.Fatalf("the agent never came to %s", z.at)
	}
	must(t, z.pod.Remove(ctx))
}

// resumeAfterHandover starts an heir, lets the call in flight arrive, and then resumes
// the zombie.
func resumeAfterHandover(t *testing.T, r *rig.Rig, z *pausing, address bool) {
	t.Helper()
	ctx := t.Context()
	port, err := z.pod.PortOf(ctx)
	if err != nil {
		port.Name = "" // it came to none
	}
	heir := heirOf(t, r, z.pod, port.Name, address)
	check(t, r)
	before, err := r.BindingOf(ctx, heir)
	must(t, err)
	if got, err := heir.PortOf(ctx); err != nil || port.Name != "" && !address && got.Name != port.Name {
		t.Fatalf("the heir has port %s and not %s: %v", got.Name, port.Name, err)
	}
	announced, err := heir.Annotations(ctx)
	must(t, err)
	unchanged := func(what string) {
		t.Helper()
		after, err := r.BindingOf(ctx, heir)
		must(t, err)
		said, err := heir.Annotations(ctx)
		must(t, err)
		if !slices.Equal(before, after) || fmt.Sprint(announced) != fmt.Sprint(said) {
			t.Errorf("%s: the heir had\n%s\n%v\nand has\n%s\n%v", what, strings.Join(before, "\n"), announced, strings.Join(after, "\n"), said)
		}
		check(t, r)
	}

	close(z.arrive)
	<-z.arrived
	unchanged("a late call has arrived")
	must(t, z.pod.Resume())
	must(t, rig.Eventually(ctx, "the allocator to refuse the zombie", z.gaveUp))
	unchanged("the zombie goes on")
	must(t, z.pod.Signal())
	_, err = z.pod.Ended(ctx)
	must(t, err)
	must(t, rig.Eventually(ctx, "nothing of the zombie to be left", func() error { return r.CheckGone(ctx, z.pod) }))
	unchanged("the zombie is gone")
	must(t, heir.Terminate(ctx))
}

// heirOf starts the heir. It gets the zombie's IP while the zombie may still hold its
// port, or the zombie's name and thus its port once that is free.
func heirOf(t *testing.T, r *rig.Rig, zombie *rig.Pod, port string, address bool) *rig.Pod {
	t.Helper()
	ctx := t.Context()
	var heir *rig.Pod
	var err error
	if address {
		heir, err = r.NewPodAt(ctx, zombie.Name+"-heir", zombie.Ports, zombie.IP)
	} else {
		must(t, rig.Eventually(ctx, "the zombie's port to be free", func() error { return r.CheckGone(ctx, zombie) }))
		if port != "" {
			must(t, rig.Eventually(ctx, "its cooldown to be over", func() error {
				p, err := r.Port(ctx, port)
				if err == nil && p.Value.State != ledger.Free {
					err = fmt.Errorf("it is %s", p.Value.State)
				}
				return err
			}))
		}
		heir, err = r.NewPod(ctx, zombie.Name, zombie.Ports)
	}
	must(t, err)
	must(t, heir.Start(), heir.WaitAnnounced(ctx))
	return heir
}
