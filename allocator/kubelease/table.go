package kubelease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/portlease/portlease/allocator/ledger"
)

// table is a ledger.Table of the Leases of one kind.
type table[T any] struct {
	cache[T]
	codec     codec[T]
	leases    client.LeaseInterface
	namespace string
	// wrote is called after each write.
	wrote func(kind, result string)
}

func newTable[T any](c codec[T], leases client.LeaseInterface, namespace string, wrote func(kind, result string)) *table[T] {
	return &table[T]{cache: cache[T]{records: ledger.NewIndex[T]()}, codec: c, leases: leases, namespace: namespace, wrote: wrote}
}

// count counts a write that ended with an error of the API server, or nil.
func (t *table[T]) count(err error) {
	result := "written"
	switch {
	case err == nil:
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		result = "conflict"
	default:
		result = "failed"
	}
	t.wrote(t.codec.kind, result)
}

// Get implements ledger.Table. A GET without a resourceVersion is a quorum read
// (Kubernetes API concepts, "Semantics for get and list").
func (t *table[T]) Get(ctx context.Context, name string) (ledger.Record[T], error) {
	before, _ := t.Cached(name)
	l, err := t.leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.remove(name, before.UID, final)
		return ledger.Record[T]{}, fmt.Errorf("%w: %s", ledger.ErrAbsent, name)
	}
	if err != nil {
		return ledger.Record[T]{}, fmt.Errorf("reading lease %s: %w", name, err)
	}
	return t.decode(l)
}

// Create implements ledger.Table.
func (t *table[T]) Create(ctx context.Context, name string, value T) (ledger.Record[T], error) {
	l, err := t.codec.encode(t.namespace, ledger.Record[T]{Name: name, Value: value})
	if err != nil {
		return ledger.Record[T]{}, err
	}
	created, err := t.leases.Create(ctx, l, metav1.CreateOptions{})
	t.count(err)
	if apierrors.IsAlreadyExists(err) {
		return ledger.Record[T]{}, fmt.Errorf("creating lease %s: %w", name, ledger.ErrConflict)
	}
	if err != nil {
		return ledger.Record[T]{}, fmt.Errorf("creating lease %s: %w", name, err)
	}
	return t.decode(created)
}

// Update implements ledger.Table.
func (t *table[T]) Update(ctx context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	if r.Version == "" || r.UID == "" {
		return r, fmt.Errorf("updating lease %s: no version was read", r.Name)
	}
	l, err := t.codec.encode(t.namespace, r)
	if err != nil {
		return r, err
	}
	l.UID = types.UID(r.UID)
	updated, err := t.leases.Update(ctx, l, metav1.UpdateOptions{})
	t.count(err)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, ledger.ErrConflict)
	}
	if err != nil {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, err)
	}
	return t.decode(updated)
}

// Delete implements ledger.Table.
func (t *table[T]) Delete(ctx context.Context, r ledger.Record[T]) error {
	uid := types.UID(r.UID)
	err := t.leases.Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &r.Version}})
	t.count(err)
	if apierrors.IsConflict(err) {
		return fmt.Errorf("deleting lease %s: %w", r.Name, ledger.ErrConflict)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting lease %s: %w", r.Name, err)
	}
	t.remove(r.Name, r.UID, final)
	return nil
}

// watched applies an event of the watch to the cache.
func (t *table[T]) watched(l *coordinationv1.Lease, exists bool) error {
	if !exists {
		t.remove(l.Name, string(l.UID), l.ResourceVersion)
		return nil
	}
	// Most events are about this process's own writes.
	if known, ok := t.Cached(l.Name); ok && known.UID == string(l.UID) && known.Version == l.ResourceVersion {
		return nil
	}
	_, err := t.decode(l)
	return err
}

// decode decodes a Lease and puts it into the cache. An unreadable Lease is an error,
// and is cached without a state: then nobody is granted it, and nothing of it is
// deleted before an admin has checked.
func (t *table[T]) decode(l *coordinationv1.Lease) (ledger.Record[T], error) {
	r, err := t.codec.decode(l)
	t.put(r)
	return r, err
}

// claims adds the reads that only the table of claims has.
type claims struct {
	*table[ledger.Claim]
	watch *watch
}

// heardWithin is how long a read waits for the watch before it asks the API server.
const heardWithin = 500 * time.Millisecond

// cachedSince returns the claims with a key if the cache has every change up to a version.
// It does not while a claim lease cannot be read, because nobody knows the keys of that.
func (c claims) cachedSince(ctx context.Context, k ledger.Key, since string) ([]ledger.Record[ledger.Claim], bool) {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	if c.watch.waitHeard(ctx, since) != nil || len(c.CachedBy(ledger.UnreadableClaims)) > 0 {
		return nil, false
	}
	cached := c.CachedBy(k)
	found := make([]ledger.Record[ledger.Claim], 0, len(cached))
	for _, r := range cached {
		found = append(found, *r)
	}
	slices.SortFunc(found, byName)
	return found, true
}

// OfPodIP implements ledger.Claims. The watch answers it; if that is late, a list does
// (Kubernetes API concepts, "Semantics for get and list", NotOlderThan).
func (c claims) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	if found, current := c.cachedSince(ctx, ledger.ClaimsAt(ip), since); current {
		return found, nil
	}
	found, err := c.list(ctx, ipLabel(ip), since)
	if err != nil {
		return nil, fmt.Errorf("listing claim leases of pod IP %s: %w", ip, err)
	}
	return found, nil
}

// OfNamespace implements ledger.Claims.
func (c claims) OfNamespace(ctx context.Context, namespace, since string) ([]ledger.Record[ledger.Claim], error) {
	found, err := c.list(ctx, labelNamespace+"="+namespace, since)
	if err != nil {
		return nil, fmt.Errorf("listing claim leases of namespace %s: %w", namespace, err)
	}
	return found, nil
}

// list returns the claim leases with a label, by name.
func (c claims) list(ctx context.Context, label, since string) ([]ledger.Record[ledger.Claim], error) {
	list, err := c.leases.List(ctx, metav1.ListOptions{
		LabelSelector:   labelKind + "=" + kindClaim + "," + label,
		ResourceVersion: since, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		return nil, err
	}
	found := make([]ledger.Record[ledger.Claim], 0, len(list.Items))
	for i := range list.Items {
		// The records are not cached. The list may be stale, and no event would remove a
		// claim that was deleted meanwhile.
		r, err := c.codec.decode(&list.Items[i])
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	slices.SortFunc(found, byName)
	return found, nil
}

func byName(a, b ledger.Record[ledger.Claim]) int { return strings.Compare(a.Name, b.Name) }

var errNotSynced = errors.New("the Leases have not been read yet")
