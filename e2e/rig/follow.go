package rig

import (
	"context"
	"errors"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// FollowLedger calls port and claim for every lease in the ledger and then for every
// write, one at a time in the order of the writes. After stop returns, neither is
// called again. An unreadable Lease is recorded as a violation.
func (r *Rig) FollowLedger(port func(PortRecord), claim func(ClaimRecord)) (stop func(), err error) {
	hear := func(o any) {
		l, ok := o.(*coordinationv1.Lease)
		if !ok {
			return
		}
		if l.Labels["portlease.dev/kind"] == "port" {
			p, err := readPort(l)
			if err != nil {
				r.history.violate(err)
				return
			}
			port(p)
			return
		}
		c, err := readClaim(l)
		if err != nil {
			r.history.violate(err)
			return
		}
		claim(c)
	}
	return r.follow("portlease.dev/kind in (port,claim)", cache.ResourceEventHandlerFuncs{AddFunc: hear, UpdateFunc: func(_, o any) { hear(o) }})
}

// follow reports the existing Leases that match the labels, and then every change of
// them.
func (r *Rig) follow(labels string, handler cache.ResourceEventHandlerFuncs) (stop func(), err error) {
	ctx, end := context.WithCancel(context.Background())
	factory := informers.NewSharedInformerFactoryWithOptions(r.Admin, 0, informers.WithNamespace(r.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = labels }))
	stop = func() { end(); factory.Shutdown() }
	registration, err := factory.Coordination().V1().Leases().Informer().AddEventHandler(handler)
	if err != nil {
		end()
		return nil, fmt.Errorf("following the ledger: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		stop()
		return nil, errors.New("following the ledger: no first list")
	}
	return stop, nil
}
