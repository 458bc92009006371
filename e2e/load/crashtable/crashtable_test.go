package crashtable

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// kube is the API server that all tests of this package share.
var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

// sample is how many cases of the table are played here.
const sample = 12

// TestASampleOfTheTable plays random cases of the table, except those that take long.
func TestASampleOfTheTable(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s, err := newStage(t.Context(), kube, podKinds[random.IntN(len(podKinds))], t.Output())
	if err != nil {
		t.Fatal(err)
	}
	calls, err := s.recordCalls(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var quick []trial
	for _, one := range cases(s, calls) {
		if !one.kind.waits {
			quick = append(quick, one)
		}
	}
	random.Shuffle(len(quick), func(i, j int) { quick[i], quick[j] = quick[j], quick[i] })
	table := newTable(t.Output(), quick[:sample])
	if err := table.play(t.Context(), 4); err != nil {
		t.Error(err)
	}
	if err := table.print(); err != nil {
		t.Error(err)
		s.DumpLogs()
	}
	if err := s.close(t.Context()); err != nil {
		t.Error(err)
	}
}
