package kubelease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/portlease/portlease/allocator/ledger"
)

// table is a ledger.Table over the Leases of one kind.
type table[T any] struct {
	codec     codec[T]
	leases    client.LeaseInterface
	namespace string

	mu sync.Mutex
	// seen is the view: lease name → newest record this process knows of.
	seen map[string]ledger.Record[T]
	gone tombstones
}

func newTable[T any](c codec[T], leases client.LeaseInterface, namespace string) *table[T] {
	return &table[T]{codec: c, leases: leases, namespace: namespace, seen: make(map[string]ledger.Record[T])}
}

// View implements ledger.Table. The order is by name.
func (t *table[T]) CachedAll() []ledger.Record[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Names are much lighter to sort than records.
	all := make([]ledger.Record[T], 0, len(t.seen))
	for _, name := range slices.Sorted(maps.Keys(t.seen)) {
		all = append(all, t.seen[name])
	}
	return all
}

// Cached implements ledger.Table.
func (t *table[T]) Cached(name string) (ledger.Record[T], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.seen[name]
	return r, ok
}

// Get implements ledger.Table: a GET without a resourceVersion is served from a
// quorum (Kubernetes API concepts, "Semantics for get and list").
func (t *table[T]) Get(ctx context.Context, name string) (ledger.Record[T], error) {
	t.mu.Lock()
	before := t.seen[name].UID
	t.mu.Unlock()
	l, err := t.leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.bury(name, before, final)
		return ledger.Record[T]{}, fmt.Errorf("%w: %s", ledger.ErrAbsent, name)
	}
	if err != nil {
		return ledger.Record[T]{}, fmt.Errorf("reading lease %s: %w", name, err)
	}
	return t.learn(l)
}

// Create implements ledger.Table.
func (t *table[T]) Create(ctx context.Context, name string, value T) (ledger.Record[T], error) {
	l, err := t.codec.encode(t.namespace, ledger.Record[T]{Name: name, Value: value})
	if err != nil {
		return ledger.Record[T]{}, err
	}
	created, err := t.leases.Create(ctx, l, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return ledger.Record[T]{}, fmt.Errorf("creating lease %s: %w", name, ledger.ErrConflict)
	}
	if err != nil {
		return ledger.Record[T]{}, fmt.Errorf("creating lease %s: %w", name, err)
	}
	return t.learn(created)
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
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, ledger.ErrConflict)
	}
	if err != nil {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, err)
	}
	return t.learn(updated)
}

// Delete implements ledger.Table.
func (t *table[T]) Delete(ctx context.Context, r ledger.Record[T]) error {
	uid := types.UID(r.UID)
	err := t.leases.Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &r.Version}})
	if apierrors.IsConflict(err) {
		return fmt.Errorf("deleting lease %s: %w", r.Name, ledger.ErrConflict)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting lease %s: %w", r.Name, err)
	}
	t.bury(r.Name, r.UID, final)
	return nil
}

// hear takes what the watch says.
func (t *table[T]) hear(l *coordinationv1.Lease, exists bool) error {
	if !exists {
		t.bury(l.Name, string(l.UID), l.ResourceVersion)
		return nil
	}
	// Most that the watch says this process has written itself.
	if known, ok := t.Cached(l.Name); ok && known.UID == string(l.UID) && known.Version == l.ResourceVersion {
		return nil
	}
	_, err := t.learn(l)
	return err
}

// learn puts a Lease into the view unless something newer is there. One that
// cannot be read is an error, and stands in the view without a state: nobody is
// granted it and nothing of it is deleted before a person has looked.
func (t *table[T]) learn(l *coordinationv1.Lease) (ledger.Record[T], error) {
	r, err := t.codec.decode(l)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone.hold(r.UID, r.Version) {
		return r, err
	}
	if known, ok := t.seen[r.Name]; !ok || newer(r.Version, known.Version) {
		t.seen[r.Name] = r
	}
	return r, err
}

// bury takes a deleted record out of the view. A UID is never given twice, so
// what the view has under another one stays.
func (t *table[T]) bury(name, uid, version string) {
	if uid == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone.add(uid, version)
	if known := t.seen[name]; known.UID == uid && t.gone.hold(uid, known.Version) {
		delete(t.seen, name)
	}
}

// newer compares resource versions, which are integers that grow (KEP-5504).
func newer(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if errX != nil || errY != nil {
		return a != b
	}
	return x > y
}

// claims adds the read that only claims have.
type claims struct{ *table[ledger.Claim] }

// OfPodIP implements ledger.Claims (Kubernetes API concepts, "Semantics for get and
// list", NotOlderThan).
func (c claims) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	list, err := c.leases.List(ctx, metav1.ListOptions{
		LabelSelector:   labelKind + "=" + kindClaim + "," + ipLabel(ip),
		ResourceVersion: since, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		return nil, fmt.Errorf("listing claim leases of pod IP %s: %w", ip, err)
	}
	found := make([]ledger.Record[ledger.Claim], 0, len(list.Items))
	for i := range list.Items {
		// Not for the view: of what was deleted meanwhile no event would come any more.
		r, err := c.codec.decode(&list.Items[i])
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b ledger.Record[ledger.Claim]) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

var errNotSynced = errors.New("the ledger has not been read yet")
