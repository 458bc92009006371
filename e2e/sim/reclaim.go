package sim

import (
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// crashes are the kinds of events of runs in which pods crash and nothing else goes
// wrong.
var crashes = []string{"create", "delete by force", "lose node", "fail"}

// gone records that a pod is gone or terminal, and which ports are to be reclaimed from
// now on. A port that has recorded no target group has nothing to delete and no cooldown:
// it is free as soon as its claim is reclaimed.
func (w *World) gone(p *pod) {
	theirs := func(v ledger.Port) bool { return v.PodUID == p.uid && v.Held() && v.TargetGroupARN != "" }
	for _, r := range w.leases.Ports.Where(theirs) {
		w.judge.pending[r.Name] = loss{p.uid, time.Now()}
	}
}

// loss is a pod that is gone, and when that began.
type loss struct {
	podUID string
	since  time.Time
}

// opened records how long a port took to be free once its pod was gone. A port that
// the pod's successor took before that does not count.
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
	// tokenCached is for how long after its end a pod may still renew, because reviews
	// of tokens are cached.
	tokenCached = 35 * time.Second
	// callTime is what the calls, the caches and the AWS budget may take in a reclaim.
	callTime = 5 * time.Second
)

// reclaimBound is how long a port takes at most to be free when only pods crash and
// AWS reports for up to inUse that a target group is in use. It adds up one claim
// duration since the last renewal, the next GET of the pod, the deletions and the
// cooldown, each until the sweep after it, by the slowest clock.
func reclaimBound(inUse time.Duration) time.Duration {
	deletes := sweepEvery
	for pause := 2 * time.Second; deletes < inUse+sweepEvery; pause = min(2*pause, 20*time.Second) {
		deletes += pause + sweepEvery
	}
	own := claimDuration + claimDuration/8 + deletes + cooldown + 3*sweepEvery
	return tokenCached + callTime + own*100/(100-maxDrift)
}
