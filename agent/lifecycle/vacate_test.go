package lifecycle_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// address records where the pod is and that its former address was vacated, which
// has to be true.
func (l *ledger) address(r api.ClaimRequest) {
	c := l.claim
	switch {
	case c.PodIP == "":
		c.PodIP = r.PodIP
	case c.PodIP != r.PodIP:
		if c.PreviousIP == "" {
			c.PreviousIP = c.PodIP
		}
		if c.PreviousIP == r.PodIP {
			c.PreviousIP = ""
		}
		c.PodIP = r.PodIP
		c.AddressChanges++
	case c.PreviousIP != "" && c.AddressChanges == r.PreviousIPDeregistered:
		if l.targets(c.PreviousIP) {
			l.t.Errorf("%s is reported vacated and is a target", c.PreviousIP)
		}
		c.PreviousIP = ""
	}
}

func (w *world) targets(ip string) bool {
	for _, g := range w.emulator.Snapshot().TargetGroups {
		if slices.ContainsFunc(g.Targets, func(t elbemu.Target) bool { return t.ID == ip && t.State != "draining" }) {
			return true
		}
	}
	return false
}

// checkVacated asserts that a pod becomes no target before its former address was
// vacated.
func (w *world) checkVacated(call elbemu.Call) {
	if call.Action == "RegisterTargets" && call.AccessKeyID == "AGENT" {
		w.ledger.change(func() {
			if c := w.ledger.claim; c != nil && c.PreviousIP != "" {
				w.t.Errorf("RegisterTargets was sent while %s is to be vacated", c.PreviousIP)
			}
		})
	}
}

const otherIP = "127.30.0.8"

// A pod that comes back at another address, killed after any number of calls of
// that too, ends bound at the address it has in the end.
func TestMovedPodKilledAnywhere(t *testing.T) {
	for _, last := range []string{podIP, otherIP, "127.30.0.9"} {
		for _, applied := range []bool{true, false} {
			for n := 1; ; n++ {
				reached := true
				t.Run(fmt.Sprintf("call %d applied %v, then at %s", n, applied, last), func(t *testing.T) {
					inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
						w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
						first := w.start()
						w.awaitReady(first)
						first.kill()
						w.pod.IP = otherIP
						p := w.killAt(n, applied)
						w.await("killed or ready", func() bool { return p.cut.killed() || p.Ready() == nil })
						reached = p.cut.killed()
						p.kill()
						w.setFault(nil)
						w.ledger.change(func() { w.ledger.refuse = nil })
						w.pod.IP = last
						next := w.start()
						w.awaitReady(next)
						w.checkBound(30000, 30001)
						if c := w.ledger.now(); c.PreviousIP != "" {
							w.t.Errorf("%s is not vacated", c.PreviousIP)
						}
						next.term()
						w.checkEmpty()
					})
				})
				if !reached {
					break
				}
			}
		}
	}
}

// A target group that the ledger has forgotten is found, because it may have the
// former address.
func TestForgottenTargetGroupIsVacated(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.kill()
		w.ledger.change(func() {
			w.ledger.claim.Ports[0].TargetGroupARN, w.ledger.claim.Ports[0].ListenerARN = "", ""
		})
		w.pod.IP = otherIP
		p = w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		p.term()
		w.checkEmpty()
	})
}

// A target group that is gone has no target to vacate.
func TestMissingTargetGroupIsVacated(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.kill()
		port := w.ledger.now().Ports[0]
		must[any](w)(nil, w.aws.DeleteListener(w.t.Context(), port.ListenerARN))
		must[any](w)(nil, w.aws.DeleteTargetGroup(w.t.Context(), port.TargetGroupARN))
		w.pod.IP = otherIP
		p = w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		p.term()
		w.checkEmpty()
	})
}

// Where all is in place but for a target too many, that one goes.
func TestRestartedAgentRemovesStrangers(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.kill()
		group := w.ledger.now().Ports[0].TargetGroupARN
		must[any](w)(nil, w.aws.RegisterTarget(w.t.Context(), group, otherIP, 7777))
		must[any](w)(nil, w.aws.RegisterTarget(w.t.Context(), group, podIP, 7778))
		p = w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		p.term()
		w.checkEmpty()
	})
}

// A target group of somebody else under this pod's name is left as it is.
func TestVacatesOnlyWhatIsItsOwn(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.kill()
		port := w.ledger.now().Ports[0]
		must[any](w)(nil, w.aws.DeleteListener(w.t.Context(), port.ListenerARN))
		must[any](w)(nil, w.aws.DeleteTargetGroup(w.t.Context(), port.TargetGroupARN))
		foreign := elb.TagsOf(w.ledger.now(), port.Fence)
		foreign.PodUID = "uid-9"
		arn := must[string](w)(w.aws.CreateTargetGroup(w.t.Context(), elb.TargetGroupSpec{
			Name: port.TargetGroupName, Protocol: port.Protocol, Port: port.TargetPort, VPC: "vpc-local", HealthCheck: port.HealthCheck, Tags: foreign,
		}))
		must[any](w)(nil, w.aws.RegisterTarget(w.t.Context(), arn, podIP, 7777))
		w.ledger.change(func() { w.ledger.claim.Ports[0].TargetGroupARN = arn })
		w.pod.IP = otherIP
		p = w.start()
		w.await("people are told", func() bool { return slices.Contains(w.ownPod.recorded(), "ForeignResource") })
		if n := w.agentCalls("DeregisterTargets"); n > 0 || !w.targets(podIP) {
			w.t.Errorf("%d deregistrations, its target is there: %v", n, w.targets(podIP))
		}
		p.kill()
	})
}
