// Package invariants checks the guarantees of portlease, S1 to S6, L1 and L2,
// against plain observations of the ledger and AWS. The simulation, the rig and the
// soak observe in their own ways and check here.
//
// Each function states what it needs to be true of its observations: that they are
// of one moment, or of one write.
package invariants

import (
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

type (
	// ClaimRecord is a claim lease as the ledger has it.
	ClaimRecord = ledger.Record[ledger.Claim]
	// PortRecord is a port lease as the ledger has it.
	PortRecord = ledger.Record[ledger.Port]
)

// Violation is a guarantee that was broken.
type Violation struct {
	// Guarantee is S1 to S6, L1, L2, or the name of a smaller promise.
	Guarantee string
	What      string
}

func (v Violation) Error() string { return v.Guarantee + ": " + v.What }

// Violated makes a Violation.
func Violated(guarantee, format string, args ...any) error {
	return Violation{guarantee, fmt.Sprintf(format, args...)}
}

// Guarantee returns the name of the guarantee that an error is about; empty if it
// is about none.
func Guarantee(err error) string {
	if v, ok := errors.AsType[Violation](err); ok {
		return v.Guarantee
	}
	return ""
}

// Holders checks S1 on claims of one moment: no holding is in two granted claims.
func Holders(claims []ClaimRecord) error {
	var errs []error
	holder := make(map[api.Fence]string)
	for _, c := range claims {
		if c.Value.State != ledger.Granted {
			continue
		}
		for _, p := range c.Value.Ports {
			if other, held := holder[p.Fence]; held {
				errs = append(errs, Violated("S1", "holding %v is in claims %s and %s", p.Fence, other, c.Name))
			}
			holder[p.Fence] = c.Name
		}
	}
	return errors.Join(errs...)
}

// Targets checks S6 on one moment: a pod IP is a target of one pod. Every pod with a
// claim counts, also one that is gone and whose ports are being released, because its
// listeners forward to whoever has the IP now. Addresses that no pod has may be excepted.
func Targets(claims []ClaimRecord, aws elbemu.Snapshot, ledgerID string, except ...string) error {
	var errs []error
	claimed := make(map[string]bool) // pod UIDs
	for _, c := range claims {
		claimed[c.Value.PodUID] = true
	}
	holder := make(map[string]string) // pod IP → pod UID
	for _, ip := range except {
		holder[ip] = ""
	}
	for _, g := range aws.TargetGroups {
		uid := g.Tags[elb.TagPodUID]
		if g.Tags[elb.TagLedger] != ledgerID || !claimed[uid] {
			continue
		}
		for _, t := range g.Targets {
			other, known := holder[t.ID]
			switch {
			case draining(t) || known && other == "":
			case known && other != uid:
				errs = append(errs, Violated("S6", "pod IP %s is a target of pods %s and %s", t.ID, other, uid))
			default:
				holder[t.ID] = uid
			}
		}
	}
	return errors.Join(errs...)
}

func draining(t elbemu.Target) bool { return t.State == "draining" }

// Foreign is everything in AWS that is not of this ledger.
type Foreign struct {
	Listeners    []elbemu.Listener
	TargetGroups []elbemu.TargetGroup
}

// ForeignIn returns what is foreign to a ledger. An empty ID owns nothing.
func ForeignIn(aws elbemu.Snapshot, ledgerID string) (f Foreign) {
	own := func(tags map[string]string) bool { return ledgerID != "" && tags[elb.TagLedger] == ledgerID }
	for _, l := range aws.Listeners {
		if !own(l.Tags) {
			f.Listeners = append(f.Listeners, l)
		}
	}
	for _, g := range aws.TargetGroups {
		if !own(g.Tags) {
			f.TargetGroups = append(f.TargetGroups, g)
		}
	}
	return f
}

// LeftOver checks L1 on one moment at rest: every listener and target group of this
// ledger is accounted for.
func LeftOver(aws elbemu.Snapshot, ledgerID string, accounted func(arn string, tags map[string]string) bool) error {
	var errs []error
	for _, l := range aws.Listeners {
		if l.Tags[elb.TagLedger] == ledgerID && !accounted(l.ARN, l.Tags) {
			errs = append(errs, Violated("L1", "listener %s on port %d is left over", l.ARN, l.Port))
		}
	}
	for _, g := range aws.TargetGroups {
		if g.Tags[elb.TagLedger] == ledgerID && !accounted(g.ARN, g.Tags) {
			errs = append(errs, Violated("L1", "target group %s is left over", g.ARN))
		}
	}
	return errors.Join(errs...)
}

// Held accounts in LeftOver for what ports with a holder have recorded.
func Held(ports []PortRecord) func(arn string, tags map[string]string) bool {
	recorded := make(map[string]bool)
	for _, p := range ports {
		if p.Value.Holder != "" {
			recorded[p.Value.TargetGroupARN], recorded[p.Value.ListenerARN] = true, true
		}
	}
	return func(arn string, _ map[string]string) bool { return recorded[arn] }
}

// Empty checks L1 on the ledger once all pods are gone: no claim is left, and every
// port is at rest.
func Empty(claims []ClaimRecord, ports []PortRecord, rests func(ledger.Port) bool) error {
	var errs []error
	for _, c := range claims {
		errs = append(errs, Violated("L1", "claim %s of %s is left over, %s", c.Name, c.Value.Pod, c.Value.State))
	}
	for _, p := range ports {
		if !rests(p.Value) {
			errs = append(errs, Violated("L1", "port %s is still %s for %s", p.Name, p.Value.State, p.Value.Pod))
		}
	}
	return errors.Join(errs...)
}
