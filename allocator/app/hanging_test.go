package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
)

// Every call to AWS hangs until its caller gives up, while many ports are to be unbound. A
// cooldown ends all the same, because that needs no AWS.
func TestLedgerGoesOnWhileAWSHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "-sweep-every", "100ms")
	var givenUp atomic.Int32 // calls of the unbinding
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		hang := elbemu.Fault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerHang}
		if c.Action == "DescribeListeners" {
			hang.Before = func(ctx context.Context) {
				<-ctx.Done()
				givenUp.Add(1)
			}
		}
		return hang
	})
	kube, err := kubernetes.NewForConfig(w.cluster.AdminConfig())
	w.must(err)
	leases := kubelease.Open(t.Context(), kube, w.namespace, slog.New(slog.DiscardHandler), kubelease.Hooks{})
	w.must(leases.WaitReady(t.Context()))
	const arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/games-1/0123456789abcdef"
	create := func(port int, p ledger.Port) (lease string) {
		t.Helper()
		lease = ledger.PortName(ledger.LoadBalancerID(arn), port)
		p.LoadBalancerARN, p.ListenerPort, p.Epoch, p.Generation, p.UpdatedAt = arn, port, "e", 1, time.Now()
		_, err := leases.Ports().Create(t.Context(), lease, p)
		w.must(err)
		return lease
	}
	for port := range 10 {
		create(30000+port, ledger.Port{
			State: ledger.Releasing, Holder: "claim-gone", CooldownTime: time.Second,
			TargetGroupARN: fmt.Sprintf("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/pl-%d/0123456789abcdef", port),
		})
	}
	w.eventually("AWS to be called in vain", func() error {
		if w.emulator.CallCounts()["DescribeListeners"] != (elbemu.CallCount{}) {
			return nil
		}
		return fmt.Errorf("it was called for %v", w.emulator.CallCounts())
	})
	before := givenUp.Load()
	cooling := create(30010, ledger.Port{State: ledger.Cooldown, CooldownTime: time.Second})
	w.eventually("the cooldown to end", func() error {
		r, err := leases.Ports().Get(t.Context(), cooling)
		if err == nil && r.Value.State != ledger.Free {
			err = fmt.Errorf("port is %s", r.Value.State)
		}
		return err
	})
	if n := givenUp.Load() - before; n > 0 {
		t.Errorf("the cooldown ended only after %d calls to AWS had been given up", n)
	}
}
