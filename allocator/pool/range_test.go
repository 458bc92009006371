package pool_test

import (
	"math/rand/v2"
	"testing"

	"github.com/portlease/portlease/allocator/pool"
)

// TestSubtract holds what is left against plain counting.
func TestSubtract(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		some := func(n int) []pool.Range {
			var all []pool.Range
			for range r.IntN(n) {
				from := 1 + r.IntN(highest)
				all = append(all, pool.Range{From: from, To: from + r.IntN(8)})
			}
			return all
		}
		given, excluded := some(4), some(4)
		a, b, overlap := pool.Overlap(given)
		count := make(map[int]int)
		for _, g := range given {
			for p := g.From; p <= g.To; p++ {
				count[p]++
			}
		}
		twice := false
		for _, n := range count {
			twice = twice || n > 1
		}
		if overlap != twice || overlap && !a.Overlaps(b) {
			t.Fatalf("seed %d: overlap of %v is %v %v, %v", seed, given, a, b, overlap)
		}
		if overlap {
			continue
		}
		for _, e := range excluded {
			for p := e.From; p <= e.To; p++ {
				delete(count, p)
			}
		}
		last := 0
		for _, l := range pool.Subtract(given, excluded) {
			if l.From > l.To || l.From <= last {
				t.Fatalf("seed %d: %v without %v gives %v", seed, given, excluded, l)
			}
			for p := l.From; p <= l.To; p++ {
				if count[p] != 1 {
					t.Fatalf("seed %d: %v without %v gives %d", seed, given, excluded, p)
				}
				delete(count, p)
			}
			last = l.To
		}
		if len(count) > 0 {
			t.Fatalf("seed %d: %v without %v lacks %v", seed, given, excluded, count)
		}
	}
}
