// Package portpool chooses listener ports.
//
// It is pure: it takes what is known and returns a choice. Being wrong is cheap,
// because the choice becomes true only by compare-and-swap in the ledger; being
// in the way of others is not, so replicas and pods spread over the free ports
// instead of all reaching for the lowest.
package portpool

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// ErrExhausted means that no load balancer of the pool has that many free ports.
var ErrExhausted = errors.New("the pool has no free port")

// Range is an inclusive range of listener ports.
type Range struct{ From, To int }

// Contains tells whether a listener port is in the range.
func (r Range) Contains(port int) bool { return r.From <= port && port <= r.To }

// ParseRange reads "30000-30049" or "30007".
func ParseRange(s string) (Range, error) {
	var r Range
	from, to, isRange := cut(s)
	var err error
	if r.From, err = strconv.Atoi(from); err != nil {
		return r, fmt.Errorf("listener ports %q are not of the form 30000-30049", s)
	}
	r.To = r.From
	if isRange {
		if r.To, err = strconv.Atoi(to); err != nil {
			return r, fmt.Errorf("listener ports %q are not of the form 30000-30049", s)
		}
	}
	if r.From < 1 || r.To > 65535 {
		return r, fmt.Errorf("listener ports %q are outside 1-65535", s)
	}
	if r.From > r.To {
		return r, fmt.Errorf("listener ports %q are upside down: write the lower port first", s)
	}
	return r, nil
}

func cut(s string) (from, to string, isRange bool) {
	for i := range len(s) {
		if s[i] == '-' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// LoadBalancer is what is known of one load balancer of a pool.
type LoadBalancer struct {
	ARN    string
	Ranges []Range
	// Taken has every listener port that must not be chosen, inside the ranges
	// or not.
	Taken map[int]bool
	// Preferred has the ports to choose before all others (the pod's last).
	Preferred map[int]bool
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

// Choose picks n ports on one load balancer: one with the pod's last port if
// there is any, else the one with the fewest listeners. Seed decides among
// equals, so that the same pod is steady and different pods spread.
func Choose(loadBalancers []LoadBalancer, n int, seed string) (Choice, error) {
	best := Choice{}
	var bestRank [2]int
	for _, lb := range loadBalancers {
		if lb.Limit-lb.Listeners < n {
			continue
		}
		ports := lb.free(seed)
		if len(ports) < n {
			continue
		}
		ports = ports[:n]
		preferred := 0
		for _, p := range ports {
			if lb.Preferred[p] {
				preferred++
			}
		}
		rank := [2]int{-preferred, lb.Listeners}
		if best.ARN == "" || slices.Compare(rank[:], bestRank[:]) < 0 ||
			slices.Equal(rank[:], bestRank[:]) && spread(seed, lb.ARN) < spread(seed, best.ARN) {
			best, bestRank = Choice{ARN: lb.ARN, Ports: ports}, rank
		}
	}
	if best.ARN == "" {
		return best, ErrExhausted
	}
	return best, nil
}

// free gives the ports that may be chosen, best first.
func (lb LoadBalancer) free(seed string) []int {
	type candidate struct {
		port, class int
		order       uint64
	}
	var all []candidate
	seen := make(map[int]bool)
	for _, r := range lb.Ranges {
		for p := r.From; p <= r.To; p++ {
			if lb.Taken[p] || seen[p] {
				continue
			}
			seen[p] = true
			class := 1
			if lb.Preferred[p] {
				class = 0
			}
			all = append(all, candidate{p, class, spread(seed, strconv.Itoa(p))})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.order, b.order), cmp.Compare(a.port, b.port))
	})
	ports := make([]int, len(all))
	for i, c := range all {
		ports[i] = c.port
	}
	return ports
}

// spread orders keys differently for each seed. Sorting looks at the first bits,
// and keys and seeds differ in their last letters, so it takes a hash whose every
// bit depends on every letter.
func spread(seed, key string) uint64 {
	sum := sha256.Sum256([]byte(seed + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:])
}
