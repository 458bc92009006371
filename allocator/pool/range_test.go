package pool_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/pool"
)

// TestSubtractLeavesWhatCountingLeaves compares Subtract with plain counting.
func TestSubtractLeavesWhatCountingLeaves(t *testing.T) {
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

func TestParseRange(t *testing.T) {
	for _, test := range []struct {
		text string
		want pool.Range
	}{
		{"30000-30049", pool.Range{From: 30000, To: 30049}},
		{"30007", pool.Range{From: 30007, To: 30007}},
		{"30007-30007", pool.Range{From: 30007, To: 30007}},
		{"1-65535", pool.Range{From: 1, To: 65535}},
	} {
		if got, err := pool.ParseRange(test.text); err != nil || got != test.want {
			t.Errorf("%q reads %v, %v", test.text, got, err)
		}
	}
	for _, test := range []struct{ text, want string }{
		{"", "of the form 30000-30049"},
		{"-", "of the form 30000-30049"},
		{"ports", "of the form 30000-30049"},
		{"30000-", "of the form 30000-30049"},
		{"-30000", "of the form 30000-30049"},
		{"1-2-3", "of the form 30000-30049"},
		{"30000 - 30049", "of the form 30000-30049"},
		{"99999999999999999999", "of the form 30000-30049"},
		{"0", "outside 1-65535"},
		{"0-10", "outside 1-65535"},
		{"65536", "outside 1-65535"},
		{"1-65536", "outside 1-65535"},
		{"30049-30000", "write the lower port first"},
	} {
		_, err := pool.ParseRange(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", test.text)) {
			t.Errorf("%q: got %v; want it named, and %q", test.text, err, test.want)
		}
	}
}

func TestContains(t *testing.T) {
	r := pool.Range{From: 10, To: 12}
	for port, want := range map[int]bool{9: false, 10: true, 11: true, 12: true, 13: false} {
		if r.Contains(port) != want {
			t.Errorf("%v contains %d: %v", r, port, !want)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"", "1", "1-2", "2-1", "0-65536", "+1-+2", "1--2", "00001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := pool.ParseRange(text)
		if err != nil {
			return
		}
		if r.From < 1 || r.To > 65535 || r.From > r.To || !r.Contains(r.From) || !r.Contains(r.To) {
			t.Errorf("%q reads %+v", text, r)
		}
		if again, err := pool.ParseRange(fmt.Sprintf("%d-%d", r.From, r.To)); err != nil || again != r {
			t.Errorf("%q reads %+v, written anew it reads %+v, %v", text, r, again, err)
		}
	})
}
