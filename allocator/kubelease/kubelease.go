// Package kubelease keeps the ledger in coordination.k8s.io/v1 Leases.
//
// One Lease is one record. Writes are compare-and-swap by the API server
// (AlreadyExists, resourceVersion); reads by name are consistent; the view is
// fed by one watch and by this process's own writes. It promises what
// ledger.Table asks for, and nothing about how late the watch is.
package kubelease

import (
	"context"
	"fmt"
	"log/slog"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/portlease/portlease/allocator/ledger"
)

// Leases is the ledger of one namespace.
type Leases struct {
	claims    *table[ledger.Claim]
	ports     *table[ledger.Port]
	balancers *table[ledger.Cordon]
	budgets   *table[ledger.Budget]
	log       *slog.Logger
	synced    cache.InformerSynced
}

// Open starts to watch the Leases of a namespace until ctx ends. changed is
// called, and must not block, whenever the view may have changed.
func Open(ctx context.Context, kube kubernetes.Interface, namespace string, log *slog.Logger, changed func()) (*Leases, error) {
	api := kube.CoordinationV1().Leases(namespace)
	l := &Leases{
		claims:    newTable(claimCodec, api, namespace),
		ports:     newTable(portCodec, api, namespace),
		balancers: newTable(balancerCodec, api, namespace),
		budgets:   newTable(budgetCodec, api, namespace),
		log:       log,
	}
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = labelKind }))
	informer := factory.Coordination().V1().Leases().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { l.route(o, true); changed() },
		UpdateFunc: func(_, o any) { l.route(o, true); changed() },
		DeleteFunc: func(o any) { l.route(o, false); changed() },
	})
	if err != nil {
		return nil, fmt.Errorf("watching leases: %w", err)
	}
	l.synced = registration.HasSynced
	factory.Start(ctx.Done())
	return l, nil
}

func (l *Leases) route(o any, exists bool) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	lease, ok := o.(*coordinationv1.Lease)
	if !ok {
		return
	}
	var err error
	switch lease.Labels[labelKind] {
	case kindClaim:
		err = l.claims.hear(lease, exists)
	case kindPort:
		err = l.ports.hear(lease, exists)
	case kindBalancer:
		err = l.balancers.hear(lease, exists)
	case kindBudget:
		err = l.budgets.hear(lease, exists)
	}
	if err != nil {
		l.log.Error("lease not read", "err", err)
	}
}

// Claims is the table of claims.
func (l *Leases) Claims() ledger.Claims { return claims{l.claims} }

// Ports is the table of ports.
func (l *Leases) Ports() ledger.Ports { return l.ports }

// Cordons is the table of what people say of load balancers.
func (l *Leases) Cordons() ledger.Cordons { return l.balancers }

// Budgets is the table of the AWS budget.
func (l *Leases) Budgets() ledger.Budgets { return l.budgets }

// Ready is an error until the ledger has been read once.
func (l *Leases) Ready() error {
	if !l.synced() {
		return errNotSynced
	}
	return nil
}

// WaitReady waits until the ledger has been read once.
func (l *Leases) WaitReady(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), l.synced) {
		return fmt.Errorf("waiting for the ledger: %w", context.Cause(ctx))
	}
	return nil
}

// ID reads the ledger's id: the UID of the kube-system namespace tells clusters
// apart, the allocator's namespace tells installations apart.
func ID(ctx context.Context, kube kubernetes.Interface, namespace string) (string, error) {
	ns, err := kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the UID of namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return ledger.ID(string(ns.UID), namespace), nil
}
