package recovery

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

// TestSmallInstallationRecovers measures a restart and an audit; the crash is given.
func TestSmallInstallationRecovers(t *testing.T) {
	table, err := Measure(t.Context(), Config{
		Kube: kube, Held: 20, Restarts: 2, Audited: 60, Audits: 1, AuditEvery: 3 * time.Second, Crashed: 7,
		Crash: func(_ context.Context, pods int) (fleet.Crash, error) {
			return fleet.Crash{Took: time.Duration(pods) * time.Minute, Least: 5 * time.Minute, Throttled: 1}, nil
		},
		Progress: t.Output(), Say: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Print(t.Output()); err != nil {
		t.Fatal(err)
	}
	figures := make(map[string][]string)
	for _, r := range table.Rows {
		for _, f := range r.Figures {
			figures[r.Case] = append(figures[r.Case], f.String())
		}
	}
	if got := strings.Join(figures["7 pods crash, s"], " "); got != "420 300 1.40 1.00" {
		t.Errorf("the crash is %q", got)
	}
	// Two load balancers, one page of target groups, and some targets.
	if got := table.Rows[1].Figures; got[1].Median != 3 || got[0].Median < 3 || got[0].Median > 60 {
		t.Errorf("an audit is %v calls, and %v at best", got[0], got[1])
	}
	if got := table.Rows[0].Figures[0]; len(got.Rounds) != 2 || got.Least <= 0 {
		t.Errorf("restarts took %v", got)
	}
}
