package claim

import (
	"fmt"
	"iter"
	"slices"
	"strconv"

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
			if now.age(o.Name, o.Version) <= now.silence && !now.holdsPort(o.Name) && !yield(len(o.Value.Requested)) {
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

// place says where the claim is in the queue of its pool; empty for one that has ports.
// Pods that no longer ask keep their place until their claims end.
func (now situation) place() string {
	if now.claim.Value.State == ledger.Granted {
		return ""
	}
	queue := now.claims.CachedBy(ledger.QueueOf(now.claim.Value.Pool))
	older, found := slices.BinarySearchFunc(queue, &now.claim, ledger.ByAge)
	length := len(queue)
	if !found {
		length++
	}
	return fmt.Sprintf("; this is the %s of %d waiting claims", ordinal(older+1), length)
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
