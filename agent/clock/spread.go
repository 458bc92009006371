package clock

import "time"

// Many agents start at once, so their waits are spread. jitter gives numbers in [0,1).

// Around is d spread by a tenth to either side.
func Around(d time.Duration, jitter func() float64) time.Duration {
	return d*9/10 + spread(d, 5, jitter)
}

// Above is d plus up to a quarter.
func Above(d time.Duration, jitter func() float64) time.Duration { return d + spread(d, 4, jitter) }

// SlightlyAbove is d plus up to a tenth.
func SlightlyAbove(d time.Duration, jitter func() float64) time.Duration {
	return d + spread(d, 10, jitter)
}

// Widely is from half of d to one and a half.
func Widely(d time.Duration, jitter func() float64) time.Duration { return d/2 + spread(d, 1, jitter) }

// spread is up to one part of d.
func spread(d time.Duration, part float64, jitter func() float64) time.Duration {
	return time.Duration(jitter() * float64(d) / part)
}
