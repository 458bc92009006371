package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
)

// Ledger records as the rig decodes them from the Leases, without the ledger
// package's decoder.
type (
	// ClaimRecord is a claim lease.
	ClaimRecord = ledger.Record[ledger.Claim]
	// PortRecord is a port lease.
	PortRecord = ledger.Record[ledger.Port]
)

// Leases reads the whole ledger with one consistent list.
func (r *Rig) Leases(ctx context.Context) ([]ClaimRecord, []PortRecord, error) {
	return r.leases(ctx, "portlease.dev/kind")
}

func (r *Rig) leases(ctx context.Context, selector string) ([]ClaimRecord, []PortRecord, error) {
	list, err := r.Admin.CoordinationV1().Leases(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, nil, fmt.Errorf("listing leases: %w", err)
	}
	var claims []ClaimRecord
	var ports []PortRecord
	for i := range list.Items {
		l := &list.Items[i]
		switch l.Labels["portlease.dev/kind"] {
		case "claim":
			c, err := readClaim(l)
			if err != nil {
				return nil, nil, err
			}
			claims = append(claims, c)
		case "port":
			p, err := readPort(l)
			if err != nil {
				return nil, nil, err
			}
			ports = append(ports, p)
		case "load-balancer", "budget": // these kinds hold no ports
		default:
			return nil, nil, fmt.Errorf("lease %s is of unknown kind", l.Name)
		}
	}
	return claims, ports, nil
}

func readClaim(l *coordinationv1.Lease) (ClaimRecord, error) {
	c := ClaimRecord{Name: l.Name, UID: string(l.UID), Version: l.ResourceVersion}
	if err := json.Unmarshal([]byte(l.Annotations["portlease.dev/record"]), &c.Value); err != nil {
		return c, fmt.Errorf("reading claim lease %s: %w", l.Name, err)
	}
	c.Value.RenewedAt = l.Spec.RenewTime.Time
	return c, nil
}

func readPort(l *coordinationv1.Lease) (PortRecord, error) {
	p := PortRecord{Name: l.Name, UID: string(l.UID), Version: l.ResourceVersion}
	if err := json.Unmarshal([]byte(l.Annotations["portlease.dev/record"]), &p.Value); err != nil {
		return p, fmt.Errorf("reading port lease %s: %w", l.Name, err)
	}
	p.Value.Holder, p.Value.Generation = *l.Spec.HolderIdentity, int(*l.Spec.LeaseTransitions)
	p.Value.UpdatedAt = l.Spec.RenewTime.Time
	if !strings.HasSuffix(l.Name, fmt.Sprintf("-%d", p.Value.ListenerPort)) {
		return p, fmt.Errorf("port lease %s speaks of listener port %d", l.Name, p.Value.ListenerPort)
	}
	return p, nil
}

// PortOf gives the pod's only port lease, for pods with one port.
func (p *Pod) PortOf(ctx context.Context) (PortRecord, error) {
	ports, err := p.PortsOf(ctx)
	switch {
	case err != nil:
		return PortRecord{}, err
	case len(ports) == 0:
		return PortRecord{}, fmt.Errorf("pod %s holds no port", p.Name)
	}
	return ports[0], nil
}

// PortsOf gives the port leases that a pod holds, sorted by name.
func (p *Pod) PortsOf(ctx context.Context) ([]PortRecord, error) {
	_, ports, err := p.rig.leases(ctx, "portlease.dev/kind,portlease.dev/pod-uid="+p.UID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ports, func(r PortRecord) bool { return r.Value.Holder != ledger.ClaimName(p.UID) }), nil
}

// Port reads one port lease.
func (r *Rig) Port(ctx context.Context, name string) (PortRecord, error) {
	l, err := r.Admin.CoordinationV1().Leases(r.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return PortRecord{}, fmt.Errorf("reading port lease %s: %w", name, err)
	}
	return readPort(l)
}

// Claim gives the pod's claim lease.
func (p *Pod) Claim(ctx context.Context) (ClaimRecord, error) {
	claims, _, err := p.rig.Leases(ctx)
	if err != nil {
		return ClaimRecord{}, err
	}
	at := slices.IndexFunc(claims, func(c ClaimRecord) bool { return c.Name == ledger.ClaimName(p.UID) })
	if at < 0 {
		return ClaimRecord{}, fmt.Errorf("pod %s has no claim", p.Name)
	}
	return claims[at], nil
}

// DeleteLease deletes one Lease, as an admin might.
func (r *Rig) DeleteLease(ctx context.Context, name string) error {
	if err := r.Admin.CoordinationV1().Leases(r.Namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting lease %s: %w", name, err)
	}
	return nil
}
