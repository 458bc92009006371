package report

import (
	"fmt"
	"slices"
)

// Spread is what one figure was in all rounds of a run.
type Spread struct {
	Median float64   `json:"median"`
	Least  float64   `json:"least"`
	Most   float64   `json:"most"`
	Rounds []float64 `json:"rounds,omitempty"`
}

// Of makes the spread of at least one figure.
func Of(rounds ...float64) Spread {
	sorted := slices.Sorted(slices.Values(rounds))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return Spread{Median: median, Least: sorted[0], Most: sorted[len(sorted)-1], Rounds: rounds}
}

// String is the median and, of several rounds, the least and the most. A figure that was not
// measured is the zero Spread.
func (s Spread) String() string {
	switch len(s.Rounds) {
	case 0:
		return "-"
	case 1:
		return short(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", short(s.Median), short(s.Least), short(s.Most))
}

// short prints three digits or so.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Quantile returns the value that a share of all values, from 0 to 1, lies below. values
// must be sorted and not empty.
func Quantile[T any](values []T, share float64) T {
	return values[min(int(share*float64(len(values))), len(values)-1)]
}
