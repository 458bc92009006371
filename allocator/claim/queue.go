package claim

import (
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// olderWaiting is how many ports each older waiting claim of the pool needs, oldest first.
// It leaves out claims that cannot or need not be served: those that have been silent, and
// those that the cache shows with a port, because their plan is on its way here.
func (now situation) olderWaiting() iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, o := range now.claims.CachedBy(ledger.QueueOf(now.claim.Value.Pool)) {
			if ledger.ByAge(o, &now.claim) >= 0 {
				return
			}
			if !now.silent(o) && !now.holdsPort(o.Name) && !yield(len(o.Value.Requested)) {
				return
			}
		}
	}
}

// holdsPort reports whether the cache shows that a claim holds a port.
func (now situation) holdsPort(claim string) bool {
	return slices.ContainsFunc(now.ports.CachedBy(ledger.PortsHeldBy(claim)), func(p *ledger.Record[ledger.Port]) bool {
		return p.Value.State == ledger.Claimed || p.Value.State == ledger.Bound
	})
}

// place is the place of the claim in the queue of its pool, from 1 on, and how many claims
// the queue has. Pods that no longer ask keep their place until their claims end.
func (now situation) place() (place, length int) {
	queue := now.claims.CachedBy(ledger.QueueOf(now.claim.Value.Pool))
	older, found := slices.BinarySearchFunc(queue, &now.claim, ledger.ByAge)
	if found {
		return older + 1, len(queue)
	}
	return older + 1, len(queue) + 1
}

// patience is how long a claim at a place in the queue may wait before it asks again:
// until its turn may come at the earliest. unbindEvery is the time in which the AWS budget
// lets one port come free.
func patience(place int, unbindEvery time.Duration) time.Duration {
	return min(max(time.Duration(place)*unbindEvery, retryExhausted), mostExhausted)
}

// durationOf is how long a claim lasts from a renewal on. A claim in the queue lasts longer
// the longer it is told to wait.
func (s *Service) durationOf(r ledger.Record[ledger.Claim]) time.Duration {
	if r.Value.State != ledger.Waiting || len(r.Value.Ports) > 0 {
		return s.Duration
	}
	older, _ := slices.BinarySearchFunc(s.Claims.CachedBy(ledger.QueueOf(r.Value.Pool)), &r, ledger.ByAge)
	return s.Duration + silentRenewals*max(0, patience(older+1, s.UnbindEvery())-s.RenewEvery)
}

// longestWait is how long a pod with such a claim may be told to wait: it must ask again
// before it counts as silent.
func (now situation) longestWait() time.Duration {
	return now.renewEvery + (now.claim.Value.Duration-now.duration)/silentRenewals
}

// silent reports whether a waiting claim has lost its place in the queue.
func (now situation) silent(o *ledger.Record[ledger.Claim]) bool {
	return now.age(o.Name, o.Version) > silentRenewals*now.renewEvery+o.Value.Duration-now.duration
}

// ordinal is 1st, 2nd and so on.
func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
