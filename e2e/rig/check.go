package rig

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/elb"
)

// Check checks S1, S2, S3, S6 and the bindings against the present state of ledger
// and emulator. It must pass at any moment.
func (r *Rig) Check(ctx context.Context) error {
	// Ledger and AWS cannot be read atomically. So AWS is read between two reads of
	// the ledger, and only unchanged port leases are checked.
	earlier, before, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	snapshot := r.Emulator.Snapshot()
	claims, after, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	versions := make(map[string]string)
	for _, p := range before {
		versions[p.Name] = p.Version
	}
	errs := []error{r.checkForeign(), r.history.check(), invariants.Holders(claims), invariants.Targets(claims, snapshot, r.Ledger)}
	for _, p := range after {
		if versions[p.Name] == p.Version {
			errs = append(errs, r.checkBinding(p, earlier, claims, snapshot))
		}
	}
	return errors.Join(errs...)
}

// checkBinding checks one port lease against AWS: no listener of an older generation
// is on the port, and a bound port forwards only to its holder's addresses.
func (r *Rig) checkBinding(p PortRecord, earlier, claims []ClaimRecord, s elbemu.Snapshot) error {
	if p.Value.Holder == "" {
		return nil
	}
	err := invariants.Listeners(p, s, r.Ledger)
	if p.Value.State != ledger.Bound || len(addressesOf(p, claims)) == 0 {
		return err
	}
	// The pod's address may have changed since AWS was read.
	addresses := append(addressesOf(p, earlier), addressesOf(p, claims)...)
	return errors.Join(err, invariants.Listening(p, s), invariants.Forwarding(p, addresses, s))
}

// addressesOf gives the present and previous addresses of a port's holder while its
// claim is granted.
func addressesOf(p PortRecord, claims []ClaimRecord) (addresses []string) {
	for _, c := range claims {
		if c.Name == p.Value.Holder && c.Value.State == ledger.Granted {
			addresses = append(addresses, c.Value.PodIP, c.Value.PreviousIP)
		}
	}
	return addresses
}

// CheckAtRest checks L1 while nothing is in progress: a held port accounts for
// everything that this ledger has in AWS.
func (r *Rig) CheckAtRest(ctx context.Context) error {
	_, ports, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	return invariants.LeftOver(r.Emulator.Snapshot(), r.Ledger, invariants.Held(ports))
}

// CheckAtRestFor is CheckAtRest for one pod, while others are busy.
func (r *Rig) CheckAtRestFor(ctx context.Context, p *Pod) error {
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return err
	}
	return r.leftOver(p, ports)
}

// CheckGone checks that an ended pod holds no port and has nothing in AWS.
func (r *Rig) CheckGone(ctx context.Context, p *Pod) error {
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return err
	}
	if len(ports) > 0 {
		return fmt.Errorf("pod %s still holds port %s", p.Name, ports[0].Name)
	}
	return r.leftOver(p, nil)
}

// leftOver checks L1 for one pod that holds these ports.
func (r *Rig) leftOver(p *Pod, ports []PortRecord) error {
	held := invariants.Held(ports)
	return invariants.LeftOver(r.Emulator.Snapshot(), r.Ledger, func(arn string, tags map[string]string) bool {
		return tags[elb.TagPodUID] != p.UID || held(arn, tags)
	})
}

// CheckEmpty checks L1 at the end: no claim, no held port, nothing in AWS.
func (r *Rig) CheckEmpty(ctx context.Context) error {
	claims, ports, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	return errors.Join(invariants.Empty(claims, ports, func(p ledger.Port) bool { return !p.Held() }), r.CheckAtRest(ctx))
}
