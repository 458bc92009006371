package kubelease

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// watch feeds the caches from the one watch on Leases. It implements
// toolscache.ReflectorStore, and keeps no copy of the Leases.
//
// The API server sends the changes of one resource in the order of their versions. So once
// a version was heard, the caches have every change before it.
type watch struct {
	leases *Leases
	// changed is called after each change.
	changed func()
	// synced is closed once all Leases were read.
	synced chan struct{}

	mu    sync.Mutex
	heard uint64
	// waiting have a version that was not heard yet.
	waiting []waiter
}

type waiter struct {
	version uint64
	heard   chan struct{}
}

func newWatch(l *Leases, changed func()) *watch {
	return &watch{leases: l, changed: changed, synced: make(chan struct{})}
}

// Add implements toolscache.ReflectorStore.
func (w *watch) Add(o any) error { return w.dispatch(o, true) }

// Update implements toolscache.ReflectorStore.
func (w *watch) Update(o any) error { return w.dispatch(o, true) }

// Delete implements toolscache.ReflectorStore.
func (w *watch) Delete(o any) error { return w.dispatch(o, false) }

// Resync implements toolscache.ReflectorStore.
func (w *watch) Resync() error { return nil }

// Replace implements toolscache.ReflectorStore. It takes all Leases of one version. A
// record that is not among them, and is no newer, was deleted unseen.
func (w *watch) Replace(all []any, version string) error {
	listed := make(map[string]bool, len(all))
	for _, o := range all {
		if lease, ok := o.(*coordinationv1.Lease); ok {
			listed[string(lease.UID)] = true
			w.leases.dispatch(lease, true)
			w.changed()
		}
	}
	for _, removed := range []int{
		w.leases.claims.removeExcept(listed, version), w.leases.ports.removeExcept(listed, version),
		w.leases.cordons.removeExcept(listed, version), w.leases.budgets.removeExcept(listed, version),
	} {
		if removed > 0 {
			w.changed()
		}
	}
	w.hear(version)
	select {
	case <-w.synced:
	default:
		close(w.synced)
	}
	return nil
}

func (w *watch) dispatch(o any, exists bool) error {
	lease, ok := o.(*coordinationv1.Lease)
	if !ok {
		return fmt.Errorf("watching leases: got a %T", o)
	}
	w.leases.dispatch(lease, exists)
	w.hear(lease.ResourceVersion)
	w.changed()
	return nil
}

// hear records that every change up to a version is in the caches.
func (w *watch) hear(version string) {
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return // nothing is promised about the order then, and waitHeard never ends
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = max(w.heard, n)
	w.waiting = slices.DeleteFunc(w.waiting, func(q waiter) bool {
		if q.version <= w.heard {
			close(q.heard)
			return true
		}
		return false
	})
}

// waitHeard waits until the caches have every change up to a version, or ctx ends.
func (w *watch) waitHeard(ctx context.Context, version string) error {
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return fmt.Errorf("waiting for version %q of the ledger: %w", version, err)
	}
	w.mu.Lock()
	if w.heard >= n {
		w.mu.Unlock()
		return nil
	}
	q := waiter{n, make(chan struct{})}
	w.waiting = append(w.waiting, q)
	w.mu.Unlock()
	select {
	case <-q.heard:
		return nil
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting = slices.DeleteFunc(w.waiting, func(o waiter) bool { return o.heard == q.heard })
		return context.Cause(ctx)
	}
}
