package sim

import (
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// gone notes that a pod is gone or terminal, and which ports wait for being free
// from now on.
func (w *World) gone(p *pod) {
	for _, r := range w.ports.list() {
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
