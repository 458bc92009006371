package rig

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/elb"
)

// checkLicense checks that an agent creates a listener only after its target group is
// recorded in the port lease. A call for a holding that has ended is not checked.
func (r *Rig) checkLicense(c elbemu.Call) {
	tags, ours := elb.ReadTags(tagsOf(c))
	if !ours || tags.Ledger != r.Ledger {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	port, err := r.Port(ctx, tags.Lease)
	if err != nil || port.Value.Fence(port.Name) != tags.Fence() {
		return
	}
	group := c.Params.Get("DefaultActions.member.1.TargetGroupArn")
	if port.Value.State == ledger.Claimed && port.Value.TargetGroupARN != group {
		r.history.violate(invariants.Violated("S2", "a listener for port lease %s was asked for while the ledger had target group %q and not %q",
			port.Name, port.Value.TargetGroupARN, group))
	}
}

// tagsOf reads the tags that a call gives.
func tagsOf(c elbemu.Call) map[string]string {
	tags := make(map[string]string)
	for name, values := range c.Params {
		number, ok := strings.CutPrefix(strings.TrimSuffix(name, ".Key"), "Tags.member.")
		if _, err := strconv.Atoi(number); ok && err == nil && len(values) == 1 {
			tags[values[0]] = c.Params.Get("Tags.member." + number + ".Value")
		}
	}
	return tags
}
