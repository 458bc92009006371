package sim

import (
	"slices"

	"github.com/portlease/portlease/e2e/invariants"
)

// Shrink looks for a smaller run that breaks the same guarantee, with fewer events and
// fewer kinds of faults. Leaving something out does not change the random numbers of
// the rest, so most of it happens as before. run simulates; more reports whether to go
// on trying, which bounds the time.
//
// Shrink returns the configuration of the smallest run, its report, the number of runs
// it took, and the violation.
func Shrink(c Config, run func(Config) (Report, error), more func() bool) (Config, Report, int, error) {
	r, err := run(c)
	s := shrinking{run: run, more: more, guarantee: invariants.Guarantee(err), tries: 1, config: c, report: r, err: err}
	if s.guarantee == "" {
		return c, r, s.tries, err
	}
	if c.Keep == nil {
		for _, p := range plan(c) {
			s.config.Keep = append(s.config.Keep, p.number)
		}
	}
	s.cutOff()
	for before := 0; before != s.size() && more(); {
		before = s.size()
		s.dropFaults()
		s.dropEvents()
	}
	return s.config, s.report, s.tries, s.err
}

// shrinking is the smallest run so far.
type shrinking struct {
	run       func(Config) (Report, error)
	more      func() bool
	guarantee string
	tries     int

	config Config
	report Report
	err    error
}

func (s *shrinking) size() int { return len(s.config.Keep) - len(s.config.Without) }

// try runs a smaller one, and takes it if it breaks the same guarantee.
func (s *shrinking) try(c Config) bool {
	if !s.more() {
		return false
	}
	s.tries++
	r, err := s.run(c)
	if invariants.Guarantee(err) != s.guarantee {
		return false
	}
	s.config, s.report, s.err = c, r, err
	s.cutOff()
	return true
}

// cutOff leaves out the events after the violation.
func (s *shrinking) cutOff() {
	s.config.Keep = slices.DeleteFunc(slices.Clone(s.config.Keep), func(number int) bool { return number > s.report.Begun })
}

// dropFaults leaves out all faults, or else as many as it can.
func (s *shrinking) dropFaults() {
	var left []string
	for _, f := range append(slices.Clone(ratedFaults), slow) {
		if !slices.Contains(s.config.Without, string(f)) {
			left = append(left, string(f))
		}
	}
	for _, some := range append([][]string{left}, slices.Collect(slices.Chunk(left, 1))...) {
		c := s.config
		c.Without = append(slices.Clone(c.Without), some...)
		if len(some) > 0 && s.try(c) && len(some) == len(left) {
			return
		}
	}
}

// dropEvents leaves out as many events as it can, large parts first.
func (s *shrinking) dropEvents() {
	for part := (len(s.config.Keep) + 1) / 2; part > 0; part /= 2 {
		// From the end, because late events matter less often.
		for end := len(s.config.Keep); end > 0; end = min(end-part, len(s.config.Keep)) {
			c := s.config
			c.Keep = slices.Delete(slices.Clone(c.Keep), max(end-part, 0), end)
			s.try(c)
		}
	}
}
