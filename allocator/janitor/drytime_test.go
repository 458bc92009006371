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

// counted is orphaned that counts the looks at tags.
type counted struct {
	orphaned
	looks *int
}

func (c counted) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	*c.looks++
	return c.orphaned.Tags(ctx, arns...)
}

// TestADryRunSaysOnceWhatItTriesNowAndThen: neither unbinding nor looking at the pod
// of an expired claim is tried in every sweep. Ports that are never unbound must not
// take the looks that others need.
func TestADryRunSaysOnceWhatItTriesNowAndThen(t *testing.T) {
	expired, leaving := claimIn(ledger.Granted, fence), portIn(ledger.Releasing, ledger.AgentAbsent)
	expired.Value.Namespace, expired.Value.Pod = "games", "game-1"
	leaving.Value.TargetGroupARN = "group-1"
	claims, ports := &late[ledger.Claim]{[]claimRecord{expired}}, &still{late[ledger.Port]{[]portRecord{leaving}}}
	w := newWatch()
	var said []string
	looks := 0
	j := janitor.New(janitor.Config{
		Ledger: "l", Claims: claims, Ports: ports, AWS: counted{orphaned{nil, t}, &looks}, Listings: bare{}, Observer: w.Observer, Timing: timing,
		GetPod: func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }, //nolint:nilnil // no pod is an answer
		Count:  func(string, string) {}, Now: func() time.Time { return w.now }, Log: slog.New(told{slog.DiscardHandler, &said}), DryRun: true,
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
		if n := strings.Count(strings.Join(said, "\n"), one); n != 1 {
			t.Errorf("%q was said %d times", one, n)
		}
	}
	if looks > hours+1 {
		t.Errorf("it looked %d times in %d hours at one port", looks, hours)
	}
}
