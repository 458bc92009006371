package ledger_test

import (
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
)

// TestRetries plays renewals: f is a failed attempt, b a renewal with all ports bound, u
// one with an unbound port, each after a whole interval; an upper-case letter comes sooner.
func TestRetries(t *testing.T) {
	for _, test := range []struct {
		name     string
		renewals string
		want     ledger.Retries
	}{
		{"a claim that waits", "uuu", ledger.Retries{}},
		{"a bound claim", "uubbbb", ledger.Retries{Bound: true}},
		{"a failure", "f", ledger.Retries{Failures: 1, Intervals: 2, Failing: true}},
		{"a failure that is reported again", "fFF", ledger.Retries{Failures: 1, Intervals: 2, Failing: true}},
		{"renewals that come too soon", "fUUUUUUU", ledger.Retries{Failures: 1, Intervals: 2, Failing: true}},
		{"the pause is over", "fuu", ledger.Retries{Failures: 1, Failing: true}},
		{"a second failure", "fuuf", ledger.Retries{Failures: 2, Intervals: 4, Failing: true}},
		{"the longest pause", "fuu fuuuu fuuuuuuuu fuuuuuuuuuuuuuuuu f", ledger.Retries{Failures: 4, Intervals: 16, Failing: true}},
		{"it succeeds", "fuub", ledger.Retries{Failures: 1, Intervals: 2, Bound: true}},
		{"it stays bound for a while", "fuubbbb", ledger.Retries{Bound: true}},
		{"a first damage is repaired at once", "bu", ledger.Retries{Failures: 1}},
		{"a second damage soon after it", "bub bu", ledger.Retries{Failures: 2, Intervals: 2, Failing: true}},
		{"a second damage much later", "bub bbb bu", ledger.Retries{Failures: 1}},
		{"a repair that fails", "buf", ledger.Retries{Failures: 2, Intervals: 4, Failing: true}},
	} {
		var r ledger.Retries
		for _, c := range test.renewals {
			switch c {
			case 'f', 'F':
				r = r.Renewed(true, false, c == 'f')
			case 'b', 'B':
				r = r.Renewed(false, true, c == 'b')
			case 'u', 'U':
				r = r.Renewed(false, false, c == 'u')
			}
		}
		if r != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, r, test.want)
		}
		if want := !test.want.Bound && test.want.Intervals > 0; r.Paused() != want {
			t.Errorf("%s: paused %v", test.name, r.Paused())
		}
	}
}
