package replace

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
)

func TestRowsHaveRatiosAndQuantiles(t *testing.T) {
	var waits []time.Duration
	for n := range 100 {
		waits = append(waits, time.Duration(n)*time.Second)
	}
	failure := error(nil)
	c := Config{
		Pods: 30, Surge: 7, Running: 5, Replacements: 40, Share: 0.9,
		Rolling: func(_ context.Context, _ *scenario.Stage, pods, surge int) (fleet.Replacement, error) {
			return fleet.Replacement{Took: time.Duration(pods) * time.Second, Least: time.Duration(surge) * time.Second, Waits: waits, Throttled: 0.5, Refused: 3}, nil
		},
		Churn: func(_ context.Context, _ *scenario.Stage, pods, replacements int, _ float64) (fleet.Replacement, error) {
			return fleet.Replacement{Took: time.Duration(replacements) * time.Second, Least: time.Duration(pods) * time.Second}, failure
		},
	}
	table, err := Measure(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"4.29 50.0 95.0 99.0 0.50 3.00", "8.00 - - - 0.00 0.00"} {
		var got []string
		for _, f := range table.Rows[i].Figures {
			got = append(got, f.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", table.Rows[i].Case, got, want)
		}
	}
	failure = errors.New("not bound")
	if _, err := Measure(t.Context(), c); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}
