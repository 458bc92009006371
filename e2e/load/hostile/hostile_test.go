package hostile

import (
	"context"
	"os"
	"testing"
	"time"

	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

// TestHarmToHonestPodsIsMeasured plays an attack that no defense stops, because its
// caller may do everything in AWS: it deletes the listeners of bound pods.
func TestHarmToHonestPodsIsMeasured(t *testing.T) {
	w, err := newWorld(t.Context(), &scenario.Stage{Kube: kube, Out: t.Output(), Progress: t.Output()}, config{pods: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if err := w.close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := w.playQuiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.quiet.p99 <= 0 || w.quiet.p99 >= boundLimit || w.quiet.sent == 0 {
		t.Errorf("the quiet run: %+v", w.quiet)
	}
	harm := attack{"delete listeners", func(context.Context, *world) (judge, error) {
		return func(ctx context.Context) (outcome, error) {
			for _, l := range w.Emulator.Snapshot().Listeners {
				if _, err := w.ELB().DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: &l.ARN}); err != nil {
					return outcome{}, err
				}
			}
			scenario.Wait(ctx, 10*packetEvery) // players must send meanwhile
			return got(true, "everything")
		}, nil
	}}
	honest, outcomes, err := w.play(t.Context(), round{attacks: []attack{harm}})
	if err != nil {
		t.Fatal(err)
	}
	if honest.bound != 3 || honest.lost == 0 || w.quiet.unaffected(honest) || len(outcomes) != 1 || outcomes[0].verdict != succeeded {
		t.Errorf("the honest pods: %+v, the attacker: %+v", honest, outcomes)
	}
	if honest.p99 > time.Minute {
		t.Errorf("they were bound after %v", honest.p99)
	}
}
