package rig_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
)

// TestFreedPortIsFreeOnEveryReplica frees a pool's only port. Every replica grants it
// at once, even a standby replica whose last listing of AWS still showed the port in
// use.
func TestFreedPortIsFreeOnEveryReplica(t *testing.T) {
	r := start(t, rig.Config{Replicas: 2, ListenerPorts: "30000", AuditEvery: time.Minute})
	ctx := t.Context()
	p := newPod(t, r, "first", "game=7777/UDP")
	must(t, p.WaitBound(ctx))
	port, err := p.PortOf(ctx)
	must(t, err)
	for _, a := range r.Replicas { // each replica lists AWS when it starts
		must(t, a.Kill(ctx), a.Revive(ctx))
	}
	must(t, r.WaitPool(ctx))
	must(t, p.Terminate(ctx))
	must(t, rig.Eventually(ctx, "the port to be free", func() error {
		now, err := r.Port(ctx, port.Name)
		if err == nil && now.Value.State != ledger.Free {
			err = fmt.Errorf("it is %s", now.Value.State)
		}
		return err
	}))
	for i, a := range r.Replicas {
		next, err := r.NewPod(ctx, fmt.Sprintf("next-%d", i), "game=7777/UDP")
		must(t, err)
		token, err := r.Token(ctx, next.Name)
		must(t, err)
		must(t, rig.Eventually(ctx, a.Name()+" to grant it", func() error {
			if _, problem, status := put(t, next, a, token, request(next, onePort)); status != http.StatusCreated && status != http.StatusOK {
				return fmt.Errorf("it answers %d: %s", status, problem.Detail)
			}
			return nil
		}))
		must(t, next.Crash(ctx))
		must(t, rig.Eventually(ctx, "the port to be free again", func() error {
			now, err := r.Port(ctx, port.Name)
			if err == nil && now.Value.State != ledger.Free {
				err = fmt.Errorf("it is %s", now.Value.State)
			}
			return err
		}))
	}
	check(t, r)
}
