package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// pod is one pod with its processes. Its object in the API server and its processes on
// a node end independently.
type pod struct {
	name, uid, ip string
	ports         []api.Port
	drain         time.Duration
	agent         *agent // the newest; nil before the first
	created       time.Time
	served        bool // some agent of it has announced
	// starts counts its agents.
	starts int
	// again is how often it will be recreated under its name.
	again int
	// leaving is a pod that is being removed; no other event may affect it.
	leaving bool
}

var (
	onePort  = []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}
	twoPorts = []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}, {Name: "chat", TargetPort: 8080, Protocol: api.TCP}}
)

// podNames is how many names pods have.
const podNames = 5

// podName is a name for a pod.
func podName(n int) string { return fmt.Sprintf("game-%d", n) }

// createPod makes a pod whose agent starts soon. Its name is free, and often one that a
// pod had before. Its IP is the one freed last.
func (w *World) createPod() {
	if w.scaled() { // as a ReplicaSet does
		w.names++
		w.createNamed(podName(w.names), 0)
		return
	}
	var names []string
	for i := range podNames {
		if name := podName(i); w.pods.byName[name] == nil {
			names = append(names, name)
		}
	}
	if name, ok := pick(w.cause, names, func(name string) string { return name }); ok {
		w.createNamed(name, 0)
	}
}

// createNamed makes a pod that is recreated so many times when it is gone.
func (w *World) createNamed(name string, again int) {
	if w.pods.byName[name] != nil || len(w.free) == 0 {
		return
	}
	p := &pod{name: name, uid: w.newUID(), ip: w.takeIP(), ports: onePort, again: again}
	if w.cause.IntN(4) == 0 {
		p.ports = twoPorts
	}
	if w.cause.IntN(4) == 0 {
		p.drain = 5 * time.Second
	}
	w.came++
	w.all, p.created = append(w.all, p), time.Now()
	w.pods.byName[p.name] = &ledger.Pod{UID: p.uid}
	w.trace.add("-- pod %s/%s created, %d ports", p.name, p.uid, len(p.ports))
	w.begin(p)
	if again > 0 {
		w.after(w.cause.span(time.Minute), func() { w.remake(p) })
	}
}

// newUID names a pod after the event that made it.
func (w *World) newUID() string {
	w.cause.made++
	if w.cause.made == 1 {
		return fmt.Sprintf("u%d", w.cause.number)
	}
	return fmt.Sprintf("u%d-%d", w.cause.number, w.cause.made)
}

// recreate deletes a pod, which is recreated under its name at once and a few times
// more, as by a StatefulSet.
func (w *World) recreate(p *pod) {
	if p.leaving {
		return
	}
	p.again = 1 + w.cause.IntN(3)
	w.remake(p)
}

// remake deletes a pod that is to be recreated.
func (w *World) remake(p *pod) {
	switch {
	case p.again == 0:
	case w.cause.IntN(2) == 0:
		w.stopPod(p)
	default:
		w.forceDelete(p, 30*time.Second)
	}
}

// begin starts a pod's agent and reports its IP, in any order.
func (w *World) begin(p *pod) {
	ip := p.ip
	w.after(w.cause.span(3*time.Second), func() {
		if found := w.pods.byName[p.name]; found != nil && found.UID == p.uid && !found.Terminal && p.ip == ip {
			found.IPs = []string{ip}
			w.trace.add("-- pod %s/%s reported at %s", p.name, p.uid, ip)
		}
	})
	w.after(w.cause.span(2*time.Second), func() {
		if p.ip == ip && w.exists(p) && !p.leaving && (p.agent == nil || p.agent.over()) {
			w.startAgent(p)
		}
	})
}

func (w *World) exists(p *pod) bool { return slices.Contains(w.all, p) }

func (w *World) takeIP() string {
	ip := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	return ip
}

// freeIP lets others have an IP, at once or after a pause, as some networks do.
func (w *World) freeIP(ip string) {
	w.after([]time.Duration{0, 30 * time.Second}[w.cause.IntN(2)], func() { w.free = append(w.free, ip) })
}

// removeObject removes a pod from the API server.
func (w *World) removeObject(p *pod) {
	if found := w.pods.byName[p.name]; found != nil && found.UID == p.uid {
		delete(w.pods.byName, p.name)
		w.trace.add("-- pod %s/%s removed from the API server", p.name, p.uid)
		w.gone(p)
		if p.again > 0 {
			w.after(w.cause.span(2*time.Second), func() { w.createNamed(p.name, p.again-1) })
		}
	}
}

// endProcesses kills a pod's processes on its node.
func (w *World) endProcesses(p *pod) {
	if p.agent != nil && !p.agent.over() {
		w.trace.add("-- agent %s killed", p.agent.name)
		p.agent.kill()
	}
}

func (w *World) forget(p *pod) {
	w.all = slices.DeleteFunc(w.all, func(other *pod) bool { return other == p })
	delete(w.agentOf, p.uid)
	w.freeIP(p.ip)
}

// stopPod deletes a pod as usual: SIGTERM, at most the grace period, then its object is
// removed.
func (w *World) stopPod(p *pod) {
	if p.leaving {
		return
	}
	p.leaving = true
	w.trace.add("-- pod %s/%s is told to stop", p.name, p.uid)
	if p.agent != nil {
		p.agent.stop()
	}
	grace := time.Now().Add(time.Duration(5+w.cause.IntN(40)) * time.Second)
	var reap func()
	reap = func() {
		if p.agent != nil && !p.agent.over() && time.Now().Before(grace) {
			w.after(500*time.Millisecond, reap)
			return
		}
		w.endProcesses(p)
		w.after(w.cause.span(2*time.Second), func() {
			w.removeObject(p)
			w.forget(p)
		})
	}
	reap()
}

// forceDelete removes the object at once; the processes go on for a while.
func (w *World) forceDelete(p *pod, within time.Duration) {
	if p.leaving {
		return
	}
	p.leaving = true
	w.removeObject(p)
	w.after(w.cause.span(within), func() {
		w.endProcesses(p)
		w.forget(p)
	})
}

// loseNode ends the processes at once; the object stays for a while.
func (w *World) loseNode(p *pod, within time.Duration) {
	if p.leaving {
		return
	}
	p.leaving = true
	w.endProcesses(p)
	w.after(w.cause.span(within), func() {
		w.removeObject(p)
		w.forget(p)
	})
}

// reuseIP removes a pod at once and gives its IP to a new one, before anything of it is
// released.
func (w *World) reuseIP(p *pod) {
	if p.leaving {
		return
	}
	p.leaving = true
	w.endProcesses(p)
	w.removeObject(p)
	w.all = slices.DeleteFunc(w.all, func(other *pod) bool { return other == p })
	w.free = append(w.free, p.ip)
	w.createPod()
}

// fail makes a pod terminal: its IP is free although its object stays.
func (w *World) fail(p *pod) {
	found := w.pods.byName[p.name]
	if p.leaving || found == nil || found.UID != p.uid {
		return
	}
	p.leaving = true
	w.endProcesses(p)
	found.Terminal = true
	w.gone(p)
	w.trace.add("-- pod %s/%s failed", p.name, p.uid)
	w.forget(p)
	w.after(w.cause.span(100*time.Second), func() { w.removeObject(p) })
}

// crash kills the agent, which is restarted in the same pod.
func (w *World) crash(p *pod) {
	if p.leaving || p.agent == nil || p.agent.over() {
		return
	}
	w.endProcesses(p)
	w.after(w.cause.span(10*time.Second), func() {
		if w.exists(p) && !p.leaving && p.agent.over() {
			w.startAgent(p)
		}
	})
}

// newSandbox kills all processes of a pod, which starts again at another IP.
func (w *World) newSandbox(p *pod) {
	if p.leaving || p.agent == nil || p.agent.over() || len(w.free) == 0 {
		return
	}
	if w.faults.denied[p.name] {
		return // it could not deregister its previous IP, and would block that of others
	}
	if w.config.Losses && w.leases.Claims.Value(ledger.ClaimName(p.uid)).ConfirmedIP != p.ip {
		return // if its claim is lost, nothing records its previous IP
	}
	w.endProcesses(p)
	old := p.ip
	p.ip = w.takeIP()
	w.freeIP(old)
	w.after(w.cause.span(3*time.Second), w.createPod) // often at that very address
	if !w.config.HardMoves {
		w.scheduler.drop(p.uid)
	}
	w.trace.add("-- pod %s/%s moves from %s to %s", p.name, p.uid, old, p.ip)
	w.begin(p)
}
