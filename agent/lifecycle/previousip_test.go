package lifecycle_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// recordIP records the pod IP, and that the previous one was deregistered, which must be
// true.
func (l *ledger) recordIP(r api.ClaimRequest) {
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
			l.t.Errorf("%s is reported deregistered and is still a target", c.PreviousIP)
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

// checkPreviousIP asserts that a pod becomes a target only after its previous IP was
// deregistered.
func (w *world) checkPreviousIP(call elbemu.Call) {
	if call.Action == "RegisterTargets" && call.AccessKeyID == "AGENT" {
		w.ledger.change(func() {
			if c := w.ledger.claim; c != nil && c.PreviousIP != "" {
				w.t.Errorf("RegisterTargets was sent before the previous IP %s was deregistered", c.PreviousIP)
			}
		})
	}
}

const otherIP = "127.30.0.8"

// The pod may have another address again by then.
func TestPodWithANewIPIsBoundAfterAKillAtAnyCall(t *testing.T) {
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
							w.t.Errorf("%s is not deregistered", c.PreviousIP)
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

// The agent was killed right after it had created the target group, and AWS does not know
// the group yet.
func TestPreviousIPIsDeregisteredThoughAWSDoesNotKnowTheTargetGroupYet(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		first := w.start()
		w.awaitReady(first)
		first.kill()
		w.pod.IP = otherIP
		known := time.Now().Add(5 * time.Second)
		w.setFault(func(c elbemu.Call) elbemu.Fault {
			if time.Now().Before(known) && (c.Action == "DescribeTags" || c.Action == "DeregisterTargets") {
				return elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found")
			}
			return elbemu.Fault{}
		})
		next := w.start()
		w.awaitReady(next)
		w.checkBound(30000)
		next.term()
		w.checkEmpty()
	})
}

func TestPreviousIPIsDeregisteredThoughTheLedgerLostItsTargetGroup(t *testing.T) {
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

func TestPreviousIPOfADeletedTargetGroupIsDone(t *testing.T) {
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

func TestRestartedAgentDeregistersOtherTargets(t *testing.T) {
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

func TestPreviousIPStaysInAForeignTargetGroup(t *testing.T) {
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
		w.await("an event", func() bool { return slices.Contains(w.ownPod.recorded(), "ForeignResource") })
		if n := w.agentCalls("DeregisterTargets"); n > 0 || !w.targets(podIP) {
			w.t.Errorf("%d deregistrations, its target is there: %v", n, w.targets(podIP))
		}
		p.kill()
	})
}
