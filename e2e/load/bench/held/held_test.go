package held

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/e2e/load/scenario"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

// TestPodsRenewAndWait plays a small measurement: all ports of one load balancer are held,
// and more pods wait.
func TestPodsRenewAndWait(t *testing.T) {
	const rounds = 2
	table, err := Measure(t.Context(), Config{
		Kube: kube, Renewing: []int{20, site.PortsEach}, Waiting: 10, Slow: 100 * time.Millisecond, WarmUp: time.Second, Rounds: rounds, Each: 4 * time.Second, Progress: t.Output(), Say: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Print(t.Output()); err != nil {
		t.Fatal(err)
	}
	var cases []string
	for _, row := range table.Rows {
		cases = append(cases, row.Case)
		for i, column := range table.Columns {
			f := row.Figures[i]
			if len(f.Rounds) != rounds {
				t.Errorf("%s: %s has %d rounds", row.Case, column.Name, len(f.Rounds))
			}
			if column.Name == "failed %" && f.Most > 0 {
				t.Errorf("%s: %v%% of the calls failed", row.Case, f)
			}
			if (column.Name == "calls/s" || column.Name == "resident MiB") && f.Most <= 0 {
				t.Errorf("%s: %s is %v", row.Case, column.Name, f)
			}
		}
	}
	if diff := cmp.Diff([]string{"20 renewing", "50 renewing", "50 renewing, slow API", "10 waiting"}, cases); diff != "" {
		t.Errorf("rows: want -, got +:\n%s", diff)
	}
}
