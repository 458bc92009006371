package kubelease_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portlease/portlease/allocator/ledger"
)

func TestOwnWritesAreCachedAtOnce(t *testing.T) {
	a := open(t, newNamespace(t), nil)
	release := a.tap.holdWatch() // the watch reports none of the writes below
	defer release()
	r, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	if seen, ok := found(a.Ports(), "lb-1"); !ok || seen.Version != r.Version {
		t.Errorf("after Create the cache has %+v, %v", seen, ok)
	}
	r.Value.State = ledger.Claimed
	r, err = a.Ports().Update(t.Context(), r)
	must(t, err)
	if seen, _ := found(a.Ports(), "lb-1"); seen.Version != r.Version || seen.Value.State != ledger.Claimed {
		t.Errorf("after Update the cache has %+v", seen)
	}
	must(t, a.Ports().Delete(t.Context(), r))
	if seen, ok := found(a.Ports(), "lb-1"); ok {
		t.Errorf("after Delete the cache has %+v", seen)
	}
}

func TestOtherReplicasWritesReachTheCache(t *testing.T) {
	namespace := newNamespace(t)
	changed := make(chan struct{}, 1)
	a := open(t, namespace, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	b := open(t, namespace, nil)
	r, err := b.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	eventually(t, "the creation is seen", func() bool { _, ok := found(a.Ports(), "lb-1"); return ok })
	<-changed
	r.Value.State = ledger.Claimed
	r, err = b.Ports().Update(t.Context(), r)
	must(t, err)
	eventually(t, "the update is seen", func() bool { seen, _ := found(a.Ports(), "lb-1"); return seen.Version == r.Version })
	_, err = b.Claims().Create(t.Context(), "claim-1", ledger.Claim{State: ledger.Waiting, Duration: 1e9})
	must(t, err)
	eventually(t, "the claim is seen", func() bool { _, ok := found(a.Claims(), "claim-1"); return ok })
	must(t, b.Ports().Delete(t.Context(), r))
	eventually(t, "the deletion is seen", func() bool { return len(a.Ports().CachedAll()) == 0 })
	if claims := a.Claims().CachedAll(); len(claims) != 1 {
		t.Errorf("the claims are %+v", claims)
	}
	if late := open(t, namespace, nil); len(late.Claims().CachedAll()) != 1 || len(late.Ports().CachedAll()) != 0 {
		t.Errorf("a replica that starts now sees %+v, %+v", late.Claims().CachedAll(), late.Ports().CachedAll())
	}
}

func TestCacheIsSortedAndIgnoresOtherLeases(t *testing.T) {
	namespace := newNamespace(t)
	a := open(t, namespace, nil)
	for _, name := range []string{"lb-3", "lb-1", "lb-2"} {
		_, err := a.Ports().Create(t.Context(), name, freePort(1))
		must(t, err)
	}
	_, err := a.kube.CoordinationV1().Leases(namespace).Create(t.Context(), lease("somebody-elses"), metav1.CreateOptions{})
	must(t, err)
	var names []string
	for _, r := range open(t, namespace, nil).Ports().CachedAll() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "lb-1 lb-2 lb-3" {
		t.Errorf("the cache has %s", got)
	}
}

// The watch has not reported the write of the other replica yet.
func TestGetIsFreshAndUpdatesTheCache(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	release := a.tap.holdWatch()
	defer release()
	r, err := b.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	got, err := a.Ports().Get(t.Context(), "lb-1")
	if err != nil || got.Version != r.Version || got.Value != r.Value {
		t.Errorf("got %+v, %v; want %+v", got, err, r)
	}
	if seen, ok := found(a.Ports(), "lb-1"); !ok || seen.Version != r.Version {
		t.Errorf("the cache has %+v, %v", seen, ok)
	}
	must(t, b.Ports().Delete(t.Context(), r))
	if _, err := a.Ports().Get(t.Context(), "lb-1"); !errors.Is(err, ledger.ErrAbsent) {
		t.Errorf("got %v", err)
	}
	if seen, ok := found(a.Ports(), "lb-1"); ok {
		t.Errorf("the cache has a record that a read found absent: %+v", seen)
	}
}

// The watch is held back while the record is updated, deleted and created again. When it
// then delivers all events, the cache must show only the last state.
func TestLateEventsDoNotTurnTheCacheBack(t *testing.T) {
	for name, anew := range map[string]bool{"deleted": false, "created again": true} {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t)
			var a replica
			var end portRecord // zero: nothing
			wrong := make(chan portRecord, 100)
			a = open(t, namespace, func() {
				if seen, _ := found(a.Ports(), "lb-1"); seen.Version != end.Version {
					wrong <- seen
				}
			})
			release := a.tap.holdWatch()
			defer release()
			write := func(value ledger.Port) portRecord {
				t.Helper()
				r, err := a.Ports().Create(t.Context(), "lb-1", value)
				must(t, err)
				r.Value.State = ledger.Claimed
				r, err = a.Ports().Update(t.Context(), r)
				must(t, err)
				return r
			}
			must(t, a.Ports().Delete(t.Context(), write(freePort(1))))
			if anew {
				end = write(freePort(2))
			}
			_, err := open(t, namespace, nil).Ports().Create(t.Context(), "last", freePort(9))
			must(t, err)
			release()
			eventually(t, "the watch has delivered everything", func() bool { _, ok := found(a.Ports(), "last"); return ok })
			if seen, ok := found(a.Ports(), "lb-1"); ok != anew || seen.Version != end.Version {
				t.Errorf("at the end the cache has %+v, %v", seen, ok)
			}
			if len(wrong) > 0 {
				t.Errorf("meanwhile the cache had %+v, want %+v", <-wrong, end)
			}
		})
	}
}

// The answers to a read and to an update arrive after the deletion that followed them.
func TestLateAnswersDoNotBringBackDeletedRecords(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	for method, call := range map[string]func(portRecord) (portRecord, error){
		http.MethodGet: func(r portRecord) (portRecord, error) { return a.Ports().Get(t.Context(), r.Name) },
		http.MethodPut: func(r portRecord) (portRecord, error) {
			r.Value.State = ledger.Claimed
			return a.Ports().Update(t.Context(), r)
		},
	} {
		r, err := b.Ports().Create(t.Context(), "lb-1", freePort(1))
		must(t, err)
		eventually(t, "the creation is seen", func() bool { _, ok := found(a.Ports(), "lb-1"); return ok })
		arrived, deliver := a.tap.holdAnswer(method)
		answered := make(chan error, 1)
		go func() {
			_, err := call(r)
			answered <- err
		}()
		<-arrived
		current, err := b.Ports().Get(t.Context(), "lb-1")
		must(t, err, b.Ports().Delete(t.Context(), current))
		eventually(t, "the deletion is seen", func() bool { _, ok := found(a.Ports(), "lb-1"); return !ok })
		deliver()
		must(t, <-answered) // the call succeeded before the deletion
		if seen, ok := found(a.Ports(), "lb-1"); ok {
			t.Errorf("%s brought back %+v", method, seen)
		}
	}
}

// The watch was broken while the record was created and deleted, so it reports neither.
func TestGetRemovesARecordWhoseDeletionTheWatchMissed(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	release := a.tap.holdWatch()
	defer release()
	r, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err, b.Ports().Delete(t.Context(), r))
	if _, err := a.Ports().Update(t.Context(), r); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("updating a deleted record: %v", err)
	}
	if _, err := a.Ports().Get(t.Context(), "lb-1"); !errors.Is(err, ledger.ErrAbsent) {
		t.Errorf("reading again: %v", err)
	}
	if seen, ok := found(a.Ports(), "lb-1"); ok {
		t.Errorf("the cache has %+v", seen)
	}
}

// The watch reports a Lease without the label as deleted. The same object comes back.
func TestLeaseThatGetsItsLabelBackIsCachedAgain(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	r, err := b.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	eventually(t, "the creation is seen", func() bool { _, ok := found(a.Ports(), "lb-1"); return ok })
	label := func(value any) {
		t.Helper()
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{"portlease.dev/kind": value}}})
		must(t, err)
		_, err = a.kube.CoordinationV1().Leases(namespace).Patch(t.Context(), "lb-1", types.MergePatchType, patch, metav1.PatchOptions{})
		must(t, err)
	}
	label(nil)
	eventually(t, "the lease is not cached", func() bool { _, ok := found(a.Ports(), "lb-1"); return !ok })
	if _, err := a.Ports().Get(t.Context(), "lb-1"); !errors.Is(err, ledger.ErrUnreadable) {
		t.Errorf("got %v", err)
	}
	label("port")
	eventually(t, "the lease is seen again", func() bool {
		seen, ok := found(a.Ports(), "lb-1")
		return ok && seen.Version != r.Version && seen.Value == r.Value
	})
}
