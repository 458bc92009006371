package rig

import (
	"context"
	"errors"
)

// Move gives the pod another address, as when its sandbox is made anew: what runs
// in it is killed, and the API server hears of the address. Nothing is started
// again.
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
	p.dwell(ip)
	var err error
	p.agent, err = p.newAgent()
	return err
}

// NewAddress gives an address that nothing of the rig has had.
func (r *Rig) NewAddress() (string, error) {
	address, err := r.addresses.next()
	return address.String(), err
}
