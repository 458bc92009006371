package claim_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

func TestResultsAndMilestonesOfClaimsAreCounted(t *testing.T) {
	w := newWorld(t, 1)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.claim("a", "10.0.0.1"); err != nil { // it has its claim, so nothing is granted
		t.Fatal(err)
	}
	if _, err := w.claim("b", "10.0.0.2"); !errors.Is(err, api.ErrExhausted) {
		t.Fatal(err)
	}
	for _, m := range []api.Milestones{{Granted: .5, Bound: 2.25}, {}, {Healthy: 1e12}} {
		r := api.RenewRequest{ClaimUID: c.UID, PodIP: c.PodIP, Pool: c.Pool, Ports: c.Ports, Milestones: m}
		if _, err := w.service.Renew(t.Context(), holderOf("a"), r); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"bound after 2.25s in default", "exhausted in default", "granted after 500ms in default", "granted in default", "healthy after 24h0m0s in default"}
	if slices.Sort(w.counted); !slices.Equal(w.counted, want) {
		t.Errorf("counted %q, want %q", w.counted, want)
	}
}
