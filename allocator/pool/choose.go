package pool

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strconv"
)

// ErrExhausted means that no load balancer of the pool has that many free ports.
var ErrExhausted = errors.New("the pool has no free port")

// Placement is which load balancer is filled first.
type Placement string

const (
	// Spread takes the one with the fewest listeners.
	Spread Placement = "spread"
	// Pack takes the one with the most, so that others can be emptied.
	Pack Placement = "pack"
)

// Candidate is a load balancer with what the ledger says about its ports.
type Candidate struct {
	ARN    string
	Ranges []Range
	// Taken has every listener port that must not be chosen, inside the ranges
	// or not.
	Taken map[int]bool
	// Preferred has the ports to choose first: the pod had them before. Avoided has
	// those to choose last: another pod may come back to them.
	Preferred, Avoided map[int]bool
	// Known, unless nil, has the ports that have a lease. The others are chosen after all
	// of these.
	Known map[int]bool
	// Listeners is how many listeners the load balancer has or will have: those of
	// held ports and foreign ones.
	Listeners int
	// Limit is how many it may have.
	Limit int
}

// Stock is what a load balancer has for one claim, or for any number of equal ones.
type Stock struct {
	arn string
	// free are the listener ports that may be chosen, by class.
	free             [classes][]int
	listeners, limit int
}

// Stock sorts out which ports may be chosen. A Stock is never changed, and may be kept.
func (c Candidate) Stock() Stock {
	s := Stock{arn: c.ARN, listeners: c.Listeners, limit: c.Limit}
	seen := make(map[int]bool)
	for _, r := range c.Ranges {
		for p := r.From; p <= r.To; p++ {
			if !c.Taken[p] && !seen[p] {
				seen[p] = true
				s.free[c.class(p)] = append(s.free[c.class(p)], p)
			}
		}
	}
	return s
}

// Classes of ports, best first.
const (
	preferred = iota
	plain
	avoided
	unknown
	classes
)

func (c Candidate) class(p int) int {
	switch {
	case c.Preferred[p]:
		return preferred
	case c.Avoided[p]:
		return avoided
	case c.Known != nil && !c.Known[p]:
		return unknown
	}
	return plain
}

// room is how many ports may be chosen.
func (s Stock) room() int {
	n := 0
	for _, ports := range s.free {
		n += len(ports)
	}
	return min(n, s.limit-s.listeners)
}

// best returns n ports, the best for a seed first.
func (s Stock) best(n int, seed string) []int {
	var all []int
	for _, ports := range s.free {
		if len(all) == n {
			break
		}
		all = append(all, sortedFor(ports, seed)[:min(len(ports), n-len(all))]...)
	}
	return all
}

// Request is what a claim needs from a pool.
type Request struct {
	// Ports is how many, all on one load balancer.
	Ports int
	// Seed decides among equal ports: the same pod gets the same choice, and
	// different pods spread.
	Seed      string
	Placement Placement
	// Older is how many ports each older waiting claim needs. They are served
	// first, even if this claim asks first. nil is none.
	Older iter.Seq[int]
}

// Choice is the requested number of listener ports on one load balancer.
type Choice struct {
	ARN   string
	Ports []int
}

// Choose picks ports on one load balancer. It prefers one that has the pod's last
// port, then one where no other pod's last port must be taken, then goes by
// placement.
func Choose(stocks []Stock, r Request) (Choice, error) {
	room := make([]int, len(stocks))
	for i := range stocks {
		room[i] = stocks[i].room()
	}
	reserveFor(r.Older, room)
	best := -1
	var bestRank rank
	for i := range stocks {
		if room[i] < r.Ports {
			continue
		}
		if rank := stocks[i].rank(r); best < 0 || rank.compare(bestRank) < 0 {
			best, bestRank = i, rank
		}
	}
	if best < 0 {
		return Choice{}, ErrExhausted
	}
	return Choice{ARN: stocks[best].arn, Ports: stocks[best].best(r.Ports, r.Seed)}, nil
}

// reserveFor takes room away for older waiting claims, each on the load balancer
// with the most room. The ports that they will get do not matter here.
func reserveFor(older iter.Seq[int], room []int) {
	total := 0
	for _, n := range room {
		total += max(n, 0)
	}
	if older == nil || total == 0 {
		return
	}
	for n := range older {
		most := -1
		for i := range room {
			if room[i] >= n && (most < 0 || room[i] > room[most]) {
				most = i
			}
		}
		if most >= 0 {
			room[most] -= n
			total -= n
		}
		if total == 0 {
			return
		}
	}
}

// rank orders candidates; the lowest is best.
type rank struct {
	notPreferred, avoided, placement int
	tie                              uint64
}

func (s Stock) rank(r Request) rank {
	fromPreferred := min(r.Ports, len(s.free[preferred]))
	fromPlain := min(r.Ports-fromPreferred, len(s.free[plain]))
	k := rank{notPreferred: -fromPreferred, avoided: r.Ports - fromPreferred - fromPlain, placement: s.listeners, tie: spread(r.Seed, s.arn)}
	if r.Placement == Pack {
		k.placement = -s.listeners
	}
	return k
}

func (k rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(k.notPreferred, o.notPreferred), cmp.Compare(k.avoided, o.avoided), cmp.Compare(k.placement, o.placement), cmp.Compare(k.tie, o.tie))
}

// sortedFor returns the ports with the best for a seed first.
func sortedFor(ports []int, seed string) []int {
	order := make(map[int]uint64, len(ports))
	for _, p := range ports {
		order[p] = spread(seed, strconv.Itoa(p))
	}
	return slices.SortedFunc(slices.Values(ports), func(a, b int) int {
		return cmp.Or(cmp.Compare(order[a], order[b]), cmp.Compare(a, b))
	})
}

// spread orders keys differently for each seed. Keys and seeds differ in their last
// letters, so every bit of the hash must depend on every letter.
func spread(seed, key string) uint64 {
	sum := sha256.Sum256([]byte(seed + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:])
}
