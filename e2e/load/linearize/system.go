package linearize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/e2e/rig"
)

// The size of a system.
const (
	replicas = 3
	podCount = 50
	// Two load balancers with 15 ports each are too few for twenty of the pods.
	balancers     = 2
	firstPort     = 30000
	portsEach     = 15
	pool          = "default"
	listenerPorts = "30000-30014"
)

// system is one installation on which rounds are played, with the same pods.
type system struct {
	rig        *rig.Rig
	seed       uint64
	callerPods []*callerPod
	admin      string
	// unknownPuts has the pods of the last round with a PUT of unknown outcome.
	unknownPuts map[string]int
	// patience is how long the pods may take to release everything.
	patience time.Duration
}

// newSystem starts an installation whose replicas reach the API server through door,
// unless that is nil. The caller closes its rig.
func newSystem(ctx context.Context, kube *kubeapi.API, seed uint64, door rig.KubeDoor, log io.Writer) (*system, error) {
	r, err := rig.New(ctx, rig.Config{
		Kube: kube, Replicas: replicas, LoadBalancers: balancers, ListenerPorts: listenerPorts, KubeDoor: door, Output: log,
		// No pod renews in time here: claims last as long as a round may.
		ClaimDuration: 2 * time.Minute, RenewEvery: 30 * time.Second,
		Cooldown: 50 * time.Millisecond, SweepEvery: 50 * time.Millisecond, AuditEvery: 300 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	c := &system{rig: r, seed: seed, callerPods: make([]*callerPod, podCount), patience: finishLimit}
	if err := c.furnish(ctx); err != nil {
		return nil, errors.Join(err, r.Abandon(ctx))
	}
	return c, nil
}

func (c *system) furnish(ctx context.Context) error {
	var err error
	if c.admin, err = c.rig.AdminToken(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for n := range c.callerPods {
		group.Go(func() error {
			p, err := c.rig.NewPod(ctx, fmt.Sprintf("pod-%d", n), "game=7777/UDP")
			if err != nil {
				return err
			}
			token, err := c.rig.Token(ctx, p.Name)
			c.callerPods[n] = &callerPod{pod: p, http: p.HTTP(), token: token, lane: n * lanes}
			return err
		})
	}
	return group.Wait()
}

// ports returns all listener ports with their last holders.
func (c *system) ports(ctx context.Context) ([]spec.Port, error) {
	_, records, err := c.rig.Leases(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]ledger.Port)
	for _, r := range records {
		known[r.Name] = r.Value
	}
	var all []spec.Port
	for _, arn := range c.rig.LoadBalancerARNs {
		for n := range portsEach {
			lease := ledger.PortName(ledger.LoadBalancerID(arn), firstPort+n)
			all = append(all, spec.Port{LoadBalancer: arn, Lease: lease, Epoch: known[lease].Epoch, Generation: known[lease].Generation})
		}
	}
	return all, nil
}
