package rig_test

import (
	"fmt"
	"testing"

	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
)

// playing starts a pod with a listening game and waits until it is bound.
func playing(t *testing.T, r *rig.Rig, name string) *rig.Pod {
	t.Helper()
	p := newPod(t, r, name, "game=7777/UDP")
	must(t, p.StartGame("udp-echo", 7777), p.WaitBound(t.Context()))
	must(t, rig.Eventually(t.Context(), name+" to listen", func() error {
		log, err := p.GameLog("udp-echo")
		if err == nil && log == "" {
			err = fmt.Errorf("it has said nothing")
		}
		return err
	}))
	return p
}

// stillBound checks that the pod's port is bound and has had the same listener
// throughout.
func stillBound(t *testing.T, p *rig.Pod, before rig.PortRecord) {
	t.Helper()
	port, err := p.PortOf(t.Context())
	must(t, err)
	if port.Value.State != ledger.Bound || port.Value.ListenerARN != before.Value.ListenerARN || port.Value.Generation != before.Value.Generation {
		t.Errorf("the port was %+v and is %+v", before.Value, port.Value)
	}
}

// TestPodsStop stops pods in every way that Kubernetes has.
func TestPodsStop(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{})
	ctx := t.Context()

	t.Run("native sidecar", func(t *testing.T) {
		p := playing(t, r, "native")
		before, err := p.PortOf(ctx)
		must(t, err)
		must(t, p.Delete(ctx))
		must(t, rig.Eventually(ctx, "the announcement to be withdrawn", func() error { return p.Withdrawn(ctx) }))
		stillBound(t, p, before) // players are still connected
		must(t, p.EndGames(ctx), p.Signal(), p.WaitEnded(ctx), p.Crash(ctx))
		must(t, rig.Eventually(ctx, "nothing to be left", func() error { return r.CheckGone(ctx, p) }))
	})

	for name, end := range map[string]func(*rig.Pod) error{
		"game ends":     func(p *rig.Pod) error { return p.EndGames(ctx) },
		"game is done":  func(p *rig.Pod) error { return p.Say(ctx, app.PathDrained) },
		"second signal": (*rig.Pod).Signal,
	} {
		t.Run("ordinary container, "+name, func(t *testing.T) {
			p := playing(t, r, "ordinary-"+name[len(name)-4:])
			before, err := p.PortOf(ctx)
			must(t, err)
			must(t, p.Delete(ctx), p.Signal())
			must(t, rig.Eventually(ctx, "draining to begin", func() error { return p.Logged("draining started") }))
			must(t, p.Withdrawn(ctx))
			stillBound(t, p, before)
			must(t, end(p), p.WaitEnded(ctx), p.Crash(ctx))
			must(t, rig.Eventually(ctx, "nothing to be left", func() error { return r.CheckGone(ctx, p) }))
		})
	}

	t.Run("container restarted", func(t *testing.T) {
		p := playing(t, r, "restarted")
		before, err := p.PortOf(ctx)
		must(t, err)
		endpoint, err := p.Endpoint()
		must(t, err)
		must(t, p.Say(ctx, app.PathPreStop))
		must(t, rig.Eventually(ctx, "the announcement to be withdrawn", func() error { return p.Withdrawn(ctx) }))
		stillBound(t, p, before)
		must(t, p.Signal(), p.WaitEnded(ctx), p.Withdrawn(ctx))
		stillBound(t, p, before)
		// The next agent takes over the port and announces what was announced before.
		must(t, p.Start(), p.WaitBound(ctx))
		must(t, rig.Eventually(ctx, "the same endpoint to be announced again", func() error {
			again, err := p.Endpoint()
			if err != nil {
				return err
			}
			annotations, err := p.Annotations(ctx)
			if said := annotations["portlease.dev/endpoint"]; err == nil && (again != endpoint || said != endpoint) {
				err = fmt.Errorf("it was %s; the file says %s and the annotation %s", endpoint, again, said)
			}
			return err
		}))
		stillBound(t, p, before)
		must(t, p.Terminate(ctx))
	})
	check(t, r)
}
