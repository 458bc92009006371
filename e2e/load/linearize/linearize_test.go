package linearize

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/linearize/mutant"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// kube is the API server that all tests of this package share.
var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

// drawSeed returns a random seed, which it logs.
func drawSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return seed
}

// TestClaimsAreLinearizable plays behind a door that breaks nothing. So the violations
// behind the other doors come from what those break.
func TestClaimsAreLinearizable(t *testing.T) {
	violations, err := clean(t.Context(), kube, mutant.Nothing, 3, drawSeed(t), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if violations > 0 {
		t.Errorf("%d violations", violations)
	}
}

func TestMutantsAreNoticed(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if err := m.mustFail(t.Context(), kube, drawSeed(t), t.Output()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
