// Package kubelease stores the ledger in coordination.k8s.io/v1 Leases.
//
// One Lease is one record. Writes are compare-and-swap in the API server
// (AlreadyExists, resourceVersion), and reads by name are fresh. One watch and this
// process's own calls fill the cache. The package keeps the contract of ledger.Table.
// It does not promise how stale the cache may be.
package kubelease

import (
	"context"
	"fmt"
	"log/slog"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/portlease/portlease/allocator/ledger"
)

// Leases is the ledger of one namespace.
type Leases struct {
	claims  *table[ledger.Claim]
	ports   *table[ledger.Port]
	cordons *table[ledger.Cordon]
	budgets *table[ledger.Budget]
	log     *slog.Logger
	watch   *watch
}

// Hooks are called by Leases, and must not block. Any of them may be nil.
type Hooks struct {
	// Changed is called whenever the cache may have changed.
	Changed func()
	// Wrote is called after each write of a Lease, for metrics. result is "written", "conflict"
	// or "failed".
	Wrote func(kind, result string)
}

// Open watches the Leases of a namespace until ctx ends.
func Open(ctx context.Context, kube kubernetes.Interface, namespace string, log *slog.Logger, hooks Hooks) *Leases {
	if hooks.Changed == nil {
		hooks.Changed = func() {}
	}
	if hooks.Wrote == nil {
		hooks.Wrote = func(string, string) {}
	}
	api := kube.CoordinationV1().Leases(namespace)
	l := &Leases{
		claims:  newTable(claimCodec, api, namespace, hooks.Wrote),
		ports:   newTable(portCodec, api, namespace, hooks.Wrote),
		cordons: newTable(cordonCodec, api, namespace, hooks.Wrote),
		budgets: newTable(budgetCodec, api, namespace, hooks.Wrote),
		log:     log,
	}
	l.watch = newWatch(l, hooks.Changed)
	reflector := toolscache.NewReflectorWithOptions(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = labelKind
			return api.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.LabelSelector = labelKind
			return api.Watch(ctx, o)
		},
	}, &coordinationv1.Lease{}, l.watch, toolscache.ReflectorOptions{Name: "leases"})
	go reflector.RunWithContext(ctx)
	return l
}

func (l *Leases) dispatch(lease *coordinationv1.Lease, exists bool) {
	var err error
	switch lease.Labels[labelKind] {
	case kindClaim:
		err = l.claims.watched(lease, exists)
	case kindPort:
		err = l.ports.watched(lease, exists)
	case kindCordon:
		err = l.cordons.watched(lease, exists)
	case kindBudget:
		err = l.budgets.watched(lease, exists)
	}
	if err != nil {
		l.log.Error("a Lease of the ledger is unreadable; an admin must restore or delete it", "err", err)
	}
}

// Claims is the table of claims.
func (l *Leases) Claims() ledger.Claims { return claims{l.claims, l.watch} }

// Ports is the table of ports.
func (l *Leases) Ports() ledger.Ports { return l.ports }

// Cordons is the table of cordoned load balancers.
func (l *Leases) Cordons() ledger.Cordons { return l.cordons }

// Budgets is the table of the AWS budget.
func (l *Leases) Budgets() ledger.Budgets { return l.budgets }

// Ready returns an error until the ledger has been read once.
func (l *Leases) Ready() error {
	select {
	case <-l.watch.synced:
		return nil
	default:
		return errNotSynced
	}
}

// WaitReady waits until the ledger has been read once.
func (l *Leases) WaitReady(ctx context.Context) error {
	select {
	case <-l.watch.synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the ledger: %w", context.Cause(ctx))
	}
}

// ID returns the ledger's id. The UID of the kube-system namespace tells clusters apart,
// and the allocator's namespace tells installations apart.
func ID(ctx context.Context, kube kubernetes.Interface, namespace string) (string, error) {
	ns, err := kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the UID of namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return ledger.ID(string(ns.UID), namespace), nil
}
