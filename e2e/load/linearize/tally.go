package linearize

import (
	"fmt"
	"time"

	"github.com/portlease/portlease/e2e/load/linearize/spec"
)

// tally counts what happened, so that people can see whether it was enough.
type tally struct {
	rounds, calls                              int
	granted, exhausted, lost, refused, unknown int
	took                                       time.Duration
}

func (t *tally) add(h spec.History, took time.Duration) {
	t.rounds++
	t.took += took
	t.calls += len(h.Ops)
	for _, o := range h.Ops {
		switch o.Outcome {
		case spec.Exhausted:
			t.exhausted++
		case spec.Lost:
			t.lost++
		case spec.Refused:
			t.refused++
		case spec.Unknown:
			t.unknown++
		case spec.Done:
			if o.Verb == spec.Put {
				t.granted++
			}
		default:
		}
	}
}

// String formats the averages for people.
func (t tally) String() string {
	n := max(t.rounds, 1)
	return fmt.Sprintf("%d calls a round in %v (%d claims given, %d exhausted, %d lost, %d refused, %d of unknown outcome)",
		t.calls/n, (t.took / time.Duration(n)).Round(10*time.Millisecond), t.granted/n, t.exhausted/n, t.lost/n, t.refused/n, t.unknown/n)
}
