package poolfile

import (
	"fmt"

	"github.com/portlease/portlease/allocator/budget"
)

// limits are the account's token buckets, if AWS has raised them, and portlease's share
// of them.
type limits struct {
	Share        *float64       `json:"share"`
	Mutating     *budget.Bucket `json:"mutating"`
	Registration *budget.Bucket `json:"registration"`
	Describe     *budget.Bucket `json:"describe"`
	All          *budget.Bucket `json:"all"`
}

// leastBurst is how many calls one port with attributes needs at once. With less,
// nothing could ever be bound.
const leastBurst = 5

func (w limits) check() (budget.Limits, error) {
	l := budget.Default()
	for _, given := range []struct {
		name string
		from *budget.Bucket
		into *budget.Bucket
	}{{"mutating", w.Mutating, &l.Mutating}, {"registration", w.Registration, &l.Registration}, {"describe", w.Describe, &l.Describe}, {"all", w.All, &l.All}} {
		if given.from == nil {
			continue
		}
		if *given.into = *given.from; given.from.Burst <= 0 || given.from.PerSecond <= 0 {
			return l, fmt.Errorf("%s: set burst and perSecond, both above 0, to the account's values", given.name)
		}
	}
	share := 1.0
	if w.Share != nil {
		share = *w.Share
	}
	if share <= 0 || share > 1 {
		return l, fmt.Errorf("share %v is outside 0-1: 0.5 leaves half of the account's calls to others", share)
	}
	l = l.Share(share)
	for name, b := range map[string]budget.Bucket{"mutating": l.Mutating, "registration": l.Registration, "describe": l.Describe, "all": l.All} {
		if b.Burst < leastBurst {
			return l, fmt.Errorf("%s: a burst of %v, after share, is less than binding one port needs: %v", name, b.Burst, leastBurst)
		}
	}
	return l, nil
}
