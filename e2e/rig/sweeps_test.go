package rig_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/elb"
)

// TestSweepsGoOnWhileAnAuditHangs checks that sweeps need no audit: the janitor
// reclaims a port while one AWS call of an audit hangs. That call times out after 15
// s, so the test gets several tries on a slow machine.
func TestSweepsGoOnWhileAnAuditHangs(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{AuditEvery: 100 * time.Millisecond})
	for _, name := range []string{"a", "b", "c", "d"} {
		if takenBackInOneAudit(t, r, name) {
			return
		}
	}
	t.Error("the sweep waited for audits each time")
}

func takenBackInOneAudit(t *testing.T, r *rig.Rig, name string) bool {
	t.Helper()
	ctx := t.Context()
	p := newPod(t, r, name, "game=7777/UDP")
	must(t, p.WaitBound(ctx))
	lease, _, _ := strings.Cut(bindingOf(t, r, p).Listeners[0].Tags[elb.TagLease], "/")
	var hanging atomic.Int32
	r.Replicas[0].Fault(func(c elbemu.Call) elbemu.Fault {
		if c.Action != "DescribeListeners" {
			return elbemu.Fault{}
		}
		hanging.Add(1)
		return elbemu.Fault{Answer: elbemu.AnswerHang}
	})
	defer r.Replicas[0].Fault(nil)
	must(t, rig.Eventually(ctx, "an audit to hang", func() error {
		if hanging.Load() == 0 {
			return errors.New("nothing was listed yet")
		}
		return nil
	}))
	before := auditsEnded(t, r)
	must(t, p.Crash(ctx))
	must(t, rig.Eventually(ctx, "the sweep to reclaim the port", func() error {
		port, err := r.Port(ctx, lease)
		if err == nil && port.Value.State != ledger.Releasing {
			err = fmt.Errorf("it is %s", port.Value.State)
		}
		return err
	}))
	return auditsEnded(t, r) == before
}

// auditsEnded counts the audits whose call has timed out.
func auditsEnded(t *testing.T, r *rig.Rig) int {
	t.Helper()
	text, err := r.Replicas[0].Log()
	must(t, err)
	return strings.Count(text, `"audit failed; the next one retries"`)
}
