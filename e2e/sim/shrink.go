package sim

import (
	"slices"

	"github.com/portlease/portlease/e2e/invariants"
)

// Shrink looks for a smaller run that breaks the same guarantee: with fewer
// happenings, among them fewer pods, and with fewer kinds of faults. A run leaves
// out what it does not keep without changing the luck of the rest, so most of
// what stays goes as it went. run simulates; more tells whether to go on trying,
// which bounds the time.
//
// It gives the configuration of the smallest run that was found, what came of it
// (the error is its violation), and how many runs that took.
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

// cutOff leaves out what was still to happen when the guarantee was broken.
func (s *shrinking) cutOff() {
	s.config.Keep = slices.DeleteFunc(slices.Clone(s.config.Keep), func(number int) bool { return number > s.report.Begun })
}

// dropWeather does without all faults, or else without as many as it can.
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

// dropHappenings leaves out as many happenings as it can, large parts first.
func (s *shrinking) dropEvents() {
	for part := (len(s.config.Keep) + 1) / 2; part > 0; part /= 2 {
		// From the end, because what happened late less often matters.
		for end := len(s.config.Keep); end > 0; end = min(end-part, len(s.config.Keep)) {
			c := s.config
			c.Keep = slices.Delete(slices.Clone(c.Keep), max(end-part, 0), end)
			s.try(c)
		}
	}
}
