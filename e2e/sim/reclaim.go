package sim

import (
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// crashes are the happenings of runs in which pods end without a word and nothing
// else goes wrong.
var crashes = []string{"create", "delete by force", "lose node", "fail"}

// gone notes that a pod is gone or terminal, and which ports wait for being free
// from now on.
func (w *World) gone(p *pod) {
	for _, r := range w.leases.Ports.List() {
		if r.Value.PodUID == p.uid && r.Value.Held() {
			w.judge.pending[r.Name] = loss{p.uid, time.Now()}
		}
	}
}

// loss is a pod that is gone, and since when.
type loss struct {
	podUID string
	since  time.Time
}

// opened notes how long a port took to be free once its pod was gone. One that
// the same pod's successor came back to before is none of those.
func (j *judge) opened(name string, now ledger.Port) {
	lost, waits := j.pending[name]
	switch {
	case !waits || now.PodUID == lost.podUID && (now.Held() || now.State == ledger.Cooldown):
		return
	case now.PodUID == lost.podUID:
		j.reclaims = append(j.reclaims, time.Since(lost.since))
	}
	delete(j.pending, name)
}

const (
	// remembered is for how long after its end a pod may still renew, because the
	// review of its token is not repeated for every call.
	tokenCached = 35 * time.Second
	// handling is what the calls, the views and the AWS budget may take in a reclaim.
	callTime = 5 * time.Second
)

// reclaimBound is how long a port takes at most to be free when only pods crash
// and AWS says for up to inUse that a target group is in use: one claim duration
// since the last renewal, the next look at the pod, the deletions and the
// cooldown, each until the sweep that sees that it is time; all by the slowest
// clock.
func reclaimBound(inUse time.Duration) time.Duration {
	deletes := sweepEvery
	for pause := 2 * time.Second; deletes < inUse+sweepEvery; pause = min(2*pause, 20*time.Second) {
		deletes += pause + sweepEvery
	}
	own := claimDuration + claimDuration/8 + deletes + cooldown + 3*sweepEvery
	return tokenCached + callTime + own*100/(100-maxDrift)
}
