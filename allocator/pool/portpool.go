// Package portpool chooses listener ports.
//
// It is pure: it takes what is known and returns a choice. Being wrong is cheap,
// because the choice becomes true only by compare-and-swap in the ledger; being
// in the way of others is not, so replicas and pods spread over the free ports
// instead of all reaching for the lowest.
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

// Placement says which load balancer is filled first.
type Placement string

const (
	// Spread takes the one with the fewest listeners.
	Spread Placement = "spread"
	// Pack takes the one with the most, so that others can be emptied.
	Pack Placement = "pack"
)

// LoadBalancer is what is known of one load balancer of a pool.
type LoadBalancer struct {
	ARN    string
	Ranges []Range
	// Taken has every listener port that must not be chosen, inside the ranges
	// or not.
	Taken map[int]bool
	// Preferred has the ports to choose before all others (the pod's last),
	// Spared those to choose after all others (another pod may come back to it).
	Preferred, Spared map[int]bool
	// Listeners is how many listeners the load balancer has or will have: held
	// ports and listeners of others alike.
	Listeners int
	// Limit is how many it may have.
	Limit int
}

// Choice is n listener ports on one load balancer.
type Choice struct {
	ARN   string
	Ports []int
}

// Wish is what somebody wants of a pool.
type Wish struct {
	// Ports is how many, all on one load balancer.
	Ports int
	// Seed decides among equals, so that the same pod is steady and different
	// pods spread.
	Seed      string
	Placement Placement
	// Elders is how many ports each of those wants who waited longer. They come
	// first, whoever asks first.
	Elders []int
}

// Choose picks ports on one load balancer: one with the pod's last port if there
// is any, else one where no other pod's last port must be taken, else by
// placement.
func Choose(loadBalancers []LoadBalancer, w Wish) (Choice, error) {
	free := make([][]candidate, len(loadBalancers))
	room := make([]int, len(loadBalancers))
	for i, lb := range loadBalancers {
		free[i] = lb.free()
		room[i] = min(len(free[i]), lb.Limit-lb.Listeners)
	}
	serve(room, w.Elders)
	best := Choice{}
	var bestRank [3]int
	for i, lb := range loadBalancers {
		if room[i] < w.Ports {
			continue
		}
		sortFor(free[i], w.Seed)
		rank := [3]int{0, 0, lb.Listeners}
		if w.Placement == Pack {
			rank[2] = -lb.Listeners
		}
		var ports []int
		for _, c := range free[i][:w.Ports] {
			ports = append(ports, c.port)
			switch c.class {
			case preferred:
				rank[0]--
			case spared:
				rank[1]++
			}
		}
		if best.ARN == "" || slices.Compare(rank[:], bestRank[:]) < 0 ||
			slices.Equal(rank[:], bestRank[:]) && spread(w.Seed, lb.ARN) < spread(w.Seed, best.ARN) {
			best, bestRank = Choice{ARN: lb.ARN, Ports: ports}, rank
		}
	}
	if best.ARN == "" {
		return best, ErrExhausted
	}
	return best, nil
}

// serve takes room away for those who come first, each on the load balancer with
// the most. Which ports they will get does not matter here.
func serve(room, elders []int) {
	for _, n := range elders {
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

// Classes of ports, best first.
const (
	preferred = iota
	plain
	spared
)

type candidate struct{ port, class int }

// free gives the ports that may be chosen.
func (lb LoadBalancer) free() []candidate {
	var all []candidate
	seen := make(map[int]bool)
	for _, r := range lb.Ranges {
		for p := r.From; p <= r.To; p++ {
			if lb.Taken[p] || seen[p] {
				continue
			}
			seen[p] = true
			class := plain
			switch {
			case lb.Preferred[p]:
				class = preferred
			case lb.Spared[p]:
				class = spared
			}
			all = append(all, candidate{p, class})
		}
	}
	return all
}

// sortFor puts the best ports for a seed first.
func sortFor(all []candidate, seed string) {
	order := make(map[int]uint64, len(all))
	for _, c := range all {
		order[c.port] = spread(seed, strconv.Itoa(c.port))
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(order[a.port], order[b.port]), cmp.Compare(a.port, b.port))
	})
}

// spread orders keys differently for each seed. Sorting looks at the first bits,
// and keys and seeds differ in their last letters, so it takes a hash whose every
// bit depends on every letter.
func spread(seed, key string) uint64 {
	sum := sha256.Sum256([]byte(seed + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:])
}
