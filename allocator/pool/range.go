package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Range is an inclusive range of listener ports.
type Range struct{ From, To int }

// Contains reports whether a listener port is in the range.
func (r Range) Contains(port int) bool { return r.From <= port && port <= r.To }

// Overlaps reports whether two ranges share a port.
func (r Range) Overlaps(o Range) bool { return r.From <= o.To && o.From <= r.To }

// String formats the range as ParseRange reads it.
func (r Range) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

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
		return r, fmt.Errorf("listener ports %q are reversed: write the lower port first", s)
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

// Overlap finds two ranges that share a port.
func Overlap(all []Range) (a, b Range, found bool) {
	sorted := slices.SortedFunc(slices.Values(all), byPort)
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1].Overlaps(sorted[i]) {
			return sorted[i-1], sorted[i], true
		}
	}
	return a, b, false
}

// Subtract returns the parts of the ranges that are in none of the others, lowest first.
// The ranges must not overlap each other.
func Subtract(all, others []Range) []Range {
	left := slices.SortedFunc(slices.Values(all), byPort)
	for _, o := range others {
		var next []Range
		for _, r := range left {
			if !r.Overlaps(o) {
				next = append(next, r)
				continue
			}
			if r.From < o.From {
				next = append(next, Range{r.From, o.From - 1})
			}
			if r.To > o.To {
				next = append(next, Range{o.To + 1, r.To})
			}
		}
		left = next
	}
	return left
}

func byPort(a, b Range) int { return cmp.Compare(a.From, b.From) }
