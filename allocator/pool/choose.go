package pool

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
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
	// Listeners is how many listeners the load balancer has or will have: those of
	// held ports and foreign ones.
	Listeners int
	// Limit is how many it may have.
	Limit int
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
	// first, even if this claim asks first.
	Older []int
}

// Choice is the requested number of listener ports on one load balancer.
type Choice struct {
	ARN   string
	Ports []int
}

// Choose picks ports on one load balancer. It prefers one that has the pod's last
// port, then one where no other pod's last port must be taken, then goes by
// placement.
func Choose(candidates []Candidate, r Request) (Choice, error) {
	free := make([][]freePort, len(candidates))
	room := make([]int, len(candidates))
	for i, c := range candidates {
		free[i] = c.free()
		room[i] = min(len(free[i]), c.Limit-c.Listeners)
	}
	reserveFor(r.Older, room)
	best := Choice{}
	var bestRank rank
	for i, c := range candidates {
		if room[i] < r.Ports {
			continue
		}
		sortFor(free[i], r.Seed)
		chosen := free[i][:r.Ports]
		if rank := c.rank(chosen, r); best.ARN == "" || rank.compare(bestRank) < 0 {
			best, bestRank = Choice{ARN: c.ARN, Ports: numbers(chosen)}, rank
		}
	}
	if best.ARN == "" {
		return best, ErrExhausted
	}
	return best, nil
}

// reserveFor takes room away for older waiting claims, each on the load balancer
// with the most room. The ports that they will get do not matter here.
func reserveFor(older, room []int) {
	for _, n := range older {
		most := -1
		for i := range room {
			if room[i] >= n && (most < 0 || room[i] > room[most]) {
				most = i
			}
		}
		if most >= 0 {
			room[most] -= n
		}
	}
}

// rank orders candidates; the lowest is best.
type rank struct {
	notPreferred, avoided, placement int
	tie                              uint64
}

func (c Candidate) rank(chosen []freePort, r Request) rank {
	k := rank{placement: c.Listeners, tie: spread(r.Seed, c.ARN)}
	if r.Placement == Pack {
		k.placement = -c.Listeners
	}
	for _, p := range chosen {
		switch p.class {
		case preferred:
			k.notPreferred--
		case avoided:
			k.avoided++
		}
	}
	return k
}

func (k rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(k.notPreferred, o.notPreferred), cmp.Compare(k.avoided, o.avoided), cmp.Compare(k.placement, o.placement), cmp.Compare(k.tie, o.tie))
}

func numbers(ports []freePort) []int {
	var all []int
	for _, p := range ports {
		all = append(all, p.port)
	}
	return all
}

// Classes of ports, best first.
const (
	preferred = iota
	plain
	avoided
)

type freePort struct{ port, class int }

// free returns the ports that may be chosen.
func (c Candidate) free() []freePort {
	var all []freePort
	seen := make(map[int]bool)
	for _, r := range c.Ranges {
		for p := r.From; p <= r.To; p++ {
			if c.Taken[p] || seen[p] {
				continue
			}
			seen[p] = true
			class := plain
			switch {
			case c.Preferred[p]:
				class = preferred
			case c.Avoided[p]:
				class = avoided
			}
			all = append(all, freePort{p, class})
		}
	}
	return all
}

// sortFor puts the best ports for a seed first.
func sortFor(all []freePort, seed string) {
	order := make(map[int]uint64, len(all))
	for _, c := range all {
		order[c.port] = spread(seed, strconv.Itoa(c.port))
	}
	slices.SortFunc(all, func(a, b freePort) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(order[a.port], order[b.port]), cmp.Compare(a.port, b.port))
	})
}

// spread orders keys differently for each seed. Keys and seeds differ in their last
// letters, so every bit of the hash must depend on every letter.
func spread(seed, key string) uint64 {
	sum := sha256.Sum256([]byte(seed + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:])
}
