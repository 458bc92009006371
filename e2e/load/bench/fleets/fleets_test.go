package fleets

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/load/bench/alternatives"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// measure compares with given figures of portlease, on a clock that does not wait.
func measure(t *testing.T, c Config) (rows map[string][]string, err error) {
	t.Helper()
	rows = make(map[string][]string)
	c.Stage = &scenario.Stage{Out: t.Output(), Progress: t.Output()}
	synctest.Test(t, func(t *testing.T) {
		got, failed := Measure(t.Context(), c)
		if err = failed; err != nil {
			return
		}
		if err := got.Print(t.Output()); err != nil {
			t.Fatal(err)
		}
		for _, row := range got.Rows {
			for _, f := range row.Figures {
				rows[row.Case] = append(rows[row.Case], f.String())
			}
		}
	})
	return rows, err
}

func TestRowsAreRatiosToTheBound(t *testing.T) {
	c := Config{
		Cases: []Case{{40, true}, {55, false}}, Alternatives: []alternatives.Alternative{alternatives.Controller()},
		Portlease: func(_ context.Context, _ *scenario.Stage, pods int, _ bool) (fleet.Figures, error) {
			return fleet.Figures{Start: fleet.Bound(pods), Calls: 4 * pods, Throttled: pods, Stop: 2 * (fleet.Bound(pods) + fleet.InUseWindow()), Leftovers: 3}, nil
		},
	}
	rows, err := measure(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"40 pods, portlease": "1.00 25.0 4.00 0.00 2.00 3.00", "55 pods, portlease": "1.00 25.0 4.00 0.00 - -"} {
		if got := strings.Join(rows[name], " "); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	// Nobody starts a fleet faster than the bucket's tokens.
	for _, name := range []string{"40 pods, one controller", "55 pods, one controller"} {
		if got := rows[name]; len(got) != 6 || got[0] < "0.95" || got[3] != "0.00" {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestCasesAreParsed(t *testing.T) {
	cases, err := ParseCases("100:stop,300")
	if err != nil || !slices.Equal(cases, Cases) {
		t.Errorf("got %v, %v", cases, err)
	}
	for _, wrong := range []string{"", "0", "100:", "100:start", "100,", "a"} {
		if cases, err := ParseCases(wrong); err == nil {
			t.Errorf("%q: got %v", wrong, cases)
		}
	}
}

func TestFailureOfPortleaseEndsTheMeasurement(t *testing.T) {
	failure := errors.New("not bound")
	_, err := measure(t, Config{
		Cases: []Case{{300, true}}, Alternatives: alternatives.All()[:2],
		Portlease: func(context.Context, *scenario.Stage, int, bool) (fleet.Figures, error) {
			time.Sleep(time.Second)
			return fleet.Figures{}, failure
		},
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}
