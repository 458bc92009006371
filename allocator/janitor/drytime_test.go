package janitor_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
)

// countingAWS counts the reads of tags.
type countingAWS struct {
	undeletableAWS
	reads *int
}

func (c countingAWS) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	*c.reads++
	return c.undeletableAWS.Tags(ctx, arns...)
}

// Not every sweep tries to unbind, or reads the pod of an expired claim. Ports that are
// never unbound must not use up the Describe calls.
func TestDryRunLogsRareActionsOnce(t *testing.T) {
	expired, releasing := claimIn(ledger.Granted, fence), portIn(ledger.Releasing, ledger.AgentAbsent)
	expired.Value.Namespace, expired.Value.Pod = "games", "game-1"
	releasing.Value.TargetGroupARN = "group-1"
	claims, ports := &stale[ledger.Claim]{[]claimRecord{expired}}, &current{stale[ledger.Port]{[]portRecord{releasing}}}
	w := newTestObserver()
	var logged []string
	reads := 0
	j := janitor.New(janitor.Config{
		Ledger: "l", Claims: claims, Ports: ports, AWS: countingAWS{undeletableAWS{nil, t}, &reads}, Listings: emptyAWS{}, Observer: w.Observer, Timing: timing,
		GetPod: func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }, //nolint:nilnil // no pod is an answer
		Count:  func(string, string) {}, Now: func() time.Time { return w.now }, Log: slog.New(skippedActions{slog.DiscardHandler, &logged}), DryRun: true,
	})
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	const sweepEvery, hours = 2 * time.Second, 3
	for range hours * time.Hour / sweepEvery {
		w.now = w.now.Add(sweepEvery)
		if err := j.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, one := range []string{"reclaiming claim-1", "unbinding lb-30000"} {
		if n := strings.Count(strings.Join(logged, "\n"), one); n != 1 {
			t.Errorf("%q was logged %d times", one, n)
		}
	}
	if reads > hours+1 {
		t.Errorf("it read the tags of one port %d times in %d hours", reads, hours)
	}
}
