package kubelease_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
)

func TestCreateConflictsWithAnExistingRecord(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	first, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	if first.Name != "lb-1" || first.UID == "" || first.Version == "" || first.Value.ListenerPort != 1 {
		t.Errorf("created %+v", first)
	}
	for _, other := range []replica{a, b} {
		if got, err := other.Ports().Create(t.Context(), "lb-1", freePort(2)); !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("created again: %+v, %v", got, err)
		}
	}
	if got, err := b.Ports().Get(t.Context(), "lb-1"); err != nil || got.Value.ListenerPort != 1 || got.Version != first.Version {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestUpdateOfAChangedRecordConflicts(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	read, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	theirs, mine := read, read
	theirs.Value.State = ledger.Claimed
	theirs, err = b.Ports().Update(t.Context(), theirs)
	must(t, err)
	mine.Value.State = ledger.Cooldown
	if got, err := a.Ports().Update(t.Context(), mine); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("a stale update succeeded: %+v, %v", got, err)
	}
	got, err := a.Ports().Get(t.Context(), "lb-1")
	if err != nil || got.Value.State != ledger.Claimed || got.Version != theirs.Version || got.UID != read.UID {
		t.Errorf("got %+v, %v; want %+v", got, err, theirs)
	}
	got.Value.State = ledger.Bound
	if _, err := a.Ports().Update(t.Context(), got); err != nil {
		t.Errorf("an update of the version just read: %v", err)
	}
}

func TestUpdateNeedsVersionUIDAndState(t *testing.T) {
	a := open(t, newNamespace(t), nil)
	read, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	for name, r := range map[string]portRecord{
		"no version": {Name: read.Name, UID: read.UID, Value: read.Value},
		"no UID":     {Name: read.Name, Version: read.Version, Value: read.Value},
		"no state":   {Name: read.Name, UID: read.UID, Version: read.Version},
	} {
		if got, err := a.Ports().Update(t.Context(), r); err == nil || errors.Is(err, ledger.ErrConflict) {
			t.Errorf("%s: updated to %+v, %v", name, got, err)
		}
	}
	if got, err := a.Ports().Get(t.Context(), "lb-1"); err != nil || got.Version != read.Version {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A client that read a record can neither change nor delete a later record of that name.
func TestRecordCreatedAgainIsNotTouched(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	first, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err, b.Ports().Delete(t.Context(), first))
	if got, err := a.Ports().Update(t.Context(), first); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("updated a deleted record: %+v, %v", got, err)
	}
	second, err := b.Ports().Create(t.Context(), "lb-1", freePort(2))
	must(t, err)
	// Even with the version of the second, the UID of the first does not fit.
	for _, version := range []string{first.Version, second.Version} {
		r := first
		r.Version = version
		if got, err := a.Ports().Update(t.Context(), r); !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("updated the later record: %+v, %v", got, err)
		}
		if err := a.Ports().Delete(t.Context(), r); !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("deleted the later record: %v", err)
		}
	}
	if got, err := a.Ports().Get(t.Context(), "lb-1"); err != nil || got.UID != second.UID || got.Version != second.Version {
		t.Errorf("got %+v, %v; want %+v", got, err, second)
	}
}

func TestDeleteOfAChangedRecordConflicts(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	read, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	newer := read
	newer.Value.State = ledger.Claimed
	newer, err = b.Ports().Update(t.Context(), newer)
	must(t, err)
	if err := a.Ports().Delete(t.Context(), read); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("deleted a changed record: %v", err)
	}
	must(t, a.Ports().Delete(t.Context(), newer))
	if _, err := b.Ports().Get(t.Context(), "lb-1"); !errors.Is(err, ledger.ErrAbsent) {
		t.Errorf("got %v", err)
	}
	must(t, a.Ports().Delete(t.Context(), newer), b.Ports().Delete(t.Context(), newer)) // absent is success
}

// The watch answers which claims record a pod IP, and a list does if the watch is late.
func TestOfPodIP(t *testing.T) {
	for name, late := range map[string]bool{"by the watch": false, "the watch is late": true} {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t)
			a, b := open(t, namespace, nil), open(t, namespace, nil)
			if late {
				defer a.tap.holdWatch()()
			}
			testOfPodIP(t, a, b, late)
		})
	}
}

func testOfPodIP(t *testing.T, a, b replica, late bool) {
	last := ""
	for uid, ips := range map[string][2]string{
		"2": {"10.0.0.1"}, "1": {"10.0.0.1"}, "3": {"10.0.0.11"}, "4": {"fd00:0:0::1"}, "5": {"fd00::11"}, "6": {"10.0.0.6", "10.0.0.11"}, "7": {"10.0.0.7", "fd00::11"},
	} {
		r, err := b.Claims().Create(t.Context(), ledger.ClaimName(uid), ledger.Claim{
			PodUID: uid, PodIP: ips[0], PreviousIP: ips[1], State: ledger.Waiting, Duration: 1e9,
		})
		must(t, err)
		last = r.Version
	}
	for ip, want := range map[string]string{
		"10.0.0.1": "claim-1 claim-2 ", "10.0.0.11": "claim-3 claim-6 ", "10.0.0.6": "claim-6 ", "10.0.0.2": "",
		"fd00::1": "claim-4 ", "fd00:0000::0001": "claim-4 ", "fd00::11": "claim-5 claim-7 ", "fd00::2": "",
	} {
		// The other replica sees all that was written before the last version, at once.
		list, err := a.Claims().OfPodIP(t.Context(), ip, last)
		got := ""
		for _, r := range list {
			got += r.Name + " "
		}
		if err != nil || got != want {
			t.Errorf("%s has %q, %v; want %q", ip, got, err, want)
		}
		// A request for the newest version would wait while other Leases are written.
		asked := a.tap.asked
		if late && (asked.Get("resourceVersion") != last || asked.Get("resourceVersionMatch") != "NotOlderThan") || !late && asked.Has("labelSelector") {
			t.Errorf("the query was %v", asked)
		}
	}
}

// A claim lease that cannot be read may record any pod IP.
func TestOfPodIPFailsForAnUnreadableClaim(t *testing.T) {
	namespace := newNamespace(t)
	a := open(t, namespace, nil)
	_, err := a.Claims().Create(t.Context(), "claim-1", ledger.Claim{PodIP: "10.0.0.1", State: ledger.Waiting, Duration: 1e9})
	must(t, err)
	version := spoil(t, a, namespace, "claim-1", "nonsense")
	if list, err := a.Claims().OfPodIP(t.Context(), "10.0.0.1", version); err == nil {
		t.Errorf("it finds %+v", list)
	}
	if list, err := a.Claims().OfPodIP(t.Context(), "10.0.0.2", version); err != nil || len(list) > 0 {
		t.Errorf("another pod IP has %+v, %v", list, err)
	}
}

// The watch breaks, and a record is deleted before it is back.
func TestDeletionThatTheWatchMissedIsSeen(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	for _, name := range []string{"claim-1", "claim-2"} {
		_, err := a.Claims().Create(t.Context(), name, ledger.Claim{PodIP: "10.0.0.1", State: ledger.Waiting, Duration: 1e9})
		must(t, err)
	}
	a.tap.breakWatch(func() {
		r, err := b.Claims().Get(t.Context(), "claim-1")
		must(t, err, b.Claims().Delete(t.Context(), r))
	})
	eventually(t, "the deletion is seen", func() bool { return len(a.Claims().CachedAll()) == 1 })
	if r := a.Claims().CachedAll()[0]; r.Name != "claim-2" {
		t.Errorf("the cache has %s", r.Name)
	}
}

// The list may show a claim that was deleted meanwhile, and the watch would never remove it.
func TestOfPodIPDoesNotFillTheCache(t *testing.T) {
	namespace := newNamespace(t)
	a, b := open(t, namespace, nil), open(t, namespace, nil)
	defer a.tap.holdWatch()()
	r, err := b.Claims().Create(t.Context(), "claim-1", ledger.Claim{PodIP: "10.0.0.1", State: ledger.Waiting, Duration: 1e9})
	must(t, err)
	if list, err := a.Claims().OfPodIP(t.Context(), "10.0.0.1", r.Version); err != nil || len(list) != 1 {
		t.Errorf("it finds %+v, %v", list, err)
	}
	if got, seen := a.Claims().Cached("claim-1"); seen {
		t.Errorf("the cache has %+v", got)
	}
}

func TestLedgerIDDependsOnClusterAndNamespace(t *testing.T) {
	kube := newClient(t, cluster.AdminConfig())
	one, err := kubelease.ID(t.Context(), kube, "one")
	must(t, err)
	again, err := kubelease.ID(t.Context(), kube, "one")
	must(t, err)
	other, err := kubelease.ID(t.Context(), kube, "other")
	must(t, err)
	if one != again || one == other || len(one) <= len("/one") {
		t.Errorf("ids are %q, %q, %q", one, again, other)
	}
}

// 64 goroutines on two replicas have read the same version.
func TestExactlyOneOfManyWritersWins(t *testing.T) {
	namespace := newNamespace(t)
	replicas := []replica{open(t, namespace, nil), open(t, namespace, nil)}
	ctx := t.Context()
	table := func(i int) ledger.Ports { return replicas[i%len(replicas)].Ports() }
	won := func(i int) ledger.Port {
		p := freePort(1)
		p.State, p.Holder, p.UpdatedAt = ledger.Claimed, strconv.Itoa(i), time.Now()
		return p
	}

	read, winner := race(t, func(i int) (portRecord, error) { return table(i).Create(ctx, "lb-1", won(i)) })
	for range 5 {
		if read.Value.Holder != strconv.Itoa(winner) {
			t.Fatalf("%d won, the record is %+v", winner, read)
		}
		before := read
		read, winner = race(t, func(i int) (portRecord, error) {
			mine := before
			mine.Value = won(i)
			return table(i).Update(ctx, mine)
		})
	}
	for range 5 {
		before := read
		_, winner = race(t, func(i int) (portRecord, error) {
			if i%2 == 1 {
				return portRecord{}, table(i/2).Delete(ctx, before)
			}
			mine := before
			mine.Value = won(i)
			return table(i/2).Update(ctx, mine)
		}, withDeletions)
		got, err := table(0).Get(ctx, "lb-1")
		switch {
		case winner%2 == 0 && err == nil && got.Value.Holder == strconv.Itoa(winner):
			read = got
		case winner%2 == 1 && errors.Is(err, ledger.ErrAbsent):
			if read, err = table(0).Create(ctx, "lb-1", won(0)); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("%d won, the record is %+v, %v", winner, got, err)
		}
	}
}

// withDeletions means that odd racers delete. Several deletions may succeed, because
// absent is success, but then no update does.
const withDeletions = true

// race returns the winner of 64 racers. All others must get ErrConflict.
func race(t *testing.T, try func(i int) (portRecord, error), deletions ...bool) (portRecord, int) {
	t.Helper()
	type outcome struct {
		i   int
		r   portRecord
		err error
	}
	const racers = 64
	outcomes := make(chan outcome, racers)
	start := make(chan struct{})
	for i := range racers {
		go func() {
			<-start
			r, err := try(i)
			outcomes <- outcome{i, r, err}
		}()
	}
	close(start)
	var winners []outcome
	allDelete := len(deletions) > 0
	for range racers {
		o := <-outcomes
		switch {
		case o.err == nil:
			winners = append(winners, o)
			allDelete = allDelete && o.i%2 == 1
		case !errors.Is(o.err, ledger.ErrConflict):
			t.Errorf("%d failed with %v, want a conflict", o.i, o.err)
		}
	}
	if len(winners) == 0 || len(winners) > 1 && !allDelete {
		t.Fatalf("%d won: %+v", len(winners), winners)
	}
	return winners[0].r, winners[0].i
}

// The API server skips an update that changes nothing, so two equal updates would both
// succeed. That is why records contain a time.
func TestUpdateWithoutAChangeKeepsTheVersion(t *testing.T) {
	a := open(t, newNamespace(t), nil)
	read, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	same, err := a.Ports().Update(t.Context(), read)
	if err != nil || same.Version != read.Version {
		t.Errorf("got %+v, %v; want version %s", same, err, read.Version)
	}
	touched := read
	touched.Value.UpdatedAt = time.Now()
	touched, err = a.Ports().Update(t.Context(), touched)
	if err != nil || touched.Version == read.Version {
		t.Errorf("got %+v, %v; want another version than %s", touched, err, read.Version)
	}
	if _, err := a.Ports().Update(t.Context(), read); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("got %v", err)
	}
}

func TestWritesAreCountedByKindAndResult(t *testing.T) {
	var counted []string
	a := openWith(t, newNamespace(t), kubelease.Hooks{Wrote: func(kind, result string) { counted = append(counted, kind+" "+result) }})
	first, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	_, err = a.Ports().Create(t.Context(), "lb-1", freePort(1))
	changed := first
	changed.Value.State = ledger.Claimed
	_, updated := a.Ports().Update(t.Context(), changed)
	_, again := a.Ports().Update(t.Context(), changed)
	_, invalid := a.Claims().Create(t.Context(), "No Lease Is Named So", ledger.Claim{State: ledger.Waiting})
	if !errors.Is(err, ledger.ErrConflict) || updated != nil || !errors.Is(again, ledger.ErrConflict) || invalid == nil {
		t.Fatal(err, updated, again, invalid)
	}
	if want := []string{"port written", "port conflict", "port written", "port conflict", "claim failed"}; !slices.Equal(counted, want) {
		t.Errorf("counted %q, want %q", counted, want)
	}
}
