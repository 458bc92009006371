package rig_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
)

// TestDryRunReclaimsNothing starts an allocator with -dry-run: it reports that it
// would reclaim a crashed pod's port, and keeps the port. Without the flag it
// reclaims the port.
func TestDryRunReclaimsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{})
	ctx := t.Context()
	a := r.Replicas[0]
	must(t, a.Stop(ctx))
	must(t, a.Configure("-dry-run"))
	must(t, a.Start(ctx))
	p := newPod(t, r, "crashed", "game=7777/UDP")
	must(t, p.WaitBound(ctx))
	before, err := p.PortOf(ctx)
	must(t, err)
	must(t, p.Crash(ctx))
	must(t, rig.Eventually(ctx, "the reclaim to be withheld", func() error {
		log, err := a.Log()
		if err == nil && !strings.Contains(log, "reclaiming claim-"+p.UID) {
			err = fmt.Errorf("the log does not say it")
		}
		return err
	}))
	after, err := p.PortOf(ctx)
	must(t, err)
	if after.Value.State != ledger.Bound || after.Version != before.Version {
		t.Errorf("port %s is %s", after.Name, after.Value.State)
	}
	must(t, a.Stop(ctx))
	must(t, a.Configure())
	must(t, a.Start(ctx))
	must(t, rig.Eventually(ctx, "the janitor to reclaim the port", func() error { return r.CheckGone(ctx, p) }), waitForEvent(r, p, "PortsReclaimed"))
}
