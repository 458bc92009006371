package rig

import (
	"context"
	"errors"
)

// Move gives the pod another address, as the kubelet does when it recreates a pod's
// sandbox. It kills the pod's processes and changes the address in the API server. It
// starts nothing again.
func (p *Pod) Move(ctx context.Context, ip string) error {
	errs := []error{p.agent.kill(ctx)}
	p.mu.Lock()
	for _, game := range p.games {
		errs = append(errs, game.kill(ctx))
	}
	p.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := p.rig.Kube.MovePod(ctx, p.rig.Games, p.Name, ip); err != nil {
		return err
	}
	p.setIP(ip)
	var err error
	p.agent, err = p.newAgent()
	return err
}

// NewAddress gives an address that nothing in this rig has used before.
func (r *Rig) NewAddress() (string, error) {
	address, err := r.addresses.next()
	return address.String(), err
}
