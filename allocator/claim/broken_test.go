package claim_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

const renewEvery = claimDuration / 4

// fleet is a world whose pods share an AWS budget, in a bubble of testing/synctest.
type fleet struct {
	*world
	mu   sync.Mutex // guards the pods
	busy sync.WaitGroup
	stop context.CancelFunc
	// attempts is how often a pod that is broken was granted calls.
	attempts map[string]int
}

// inFleet runs a test with a fleet. Its load balancer has room for everybody.
func inFleet(t *testing.T, test func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{world: newWorld(t, 1000), attempts: make(map[string]int)}
		f.cloud.limit = 1000
		observer := janitor.NewObserver(time.Now)
		ctx, stop := context.WithCancel(t.Context())
		f.stop = stop
		pay := pacer.New(pacer.Config{
			Budgets: ledgermem.NewTable(f.ledger.Budgets, ledgermem.Direct, nil), Claims: f.claims, Ports: f.ports, Limits: budget.Default,
			Now: time.Now, RenewEvery: renewEvery, Age: observer.Age, Log: slog.New(slog.DiscardHandler), Count: func(string, string) {},
		})
		f.service.Budget, f.service.Now, f.service.Age = pay, time.Now, observer.Age
		getPod := f.service.GetPod
		f.service.GetPod = func(ctx context.Context, namespace, pod string) (*ledger.Pod, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return getPod(ctx, namespace, pod)
		}
		f.every(ctx, time.Second, func() {
			observer.Observe(f.claims.CachedAll(), f.ports.CachedAll())
			pay.Observe()
		})
		test(f)
		stop()
		f.busy.Wait()
	})
}

func (f *fleet) every(ctx context.Context, d time.Duration, do func()) {
	f.busy.Go(func() {
		for ctx.Err() == nil {
			do()
			sleep(ctx, d)
		}
	})
}

// sleep waits, in the bubble, until a time has passed or ctx is over.
func sleep(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// bindAs plays an agent that claims one port and binds it, until ctx is over or the port is
// bound. While broken reports so, AWS denies its first call, and it waits before it asks
// again as agents do. It returns how long it took.
func (f *fleet) bindAs(ctx context.Context, pod string, broken func() bool) time.Duration {
	start := time.Now()
	h := holderOf(pod)
	f.mu.Lock()
	ip := fmt.Sprintf("10.%d.%d.1", len(f.pods)/256, len(f.pods)%256)
	f.pods[pod] = &ledger.Pod{UID: h.UID, IPs: []string{ip}}
	f.mu.Unlock()
	req := api.ClaimRequest{PodUID: h.UID, PodIP: ip, Pool: "default", Ports: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}}}
	for ctx.Err() == nil {
		c, _, err := f.service.Claim(ctx, h, req)
		req.Failed = ""
		switch {
		case err != nil:
			sleep(ctx, time.Second)
		case c.BindAfterSeconds > 0:
			sleep(ctx, time.Duration(c.BindAfterSeconds*float64(time.Second)))
		case broken():
			f.mu.Lock()
			f.attempts[pod]++
			f.mu.Unlock()
			req.Failed = api.FailedDenied
			sleep(ctx, time.Minute)
		default:
			for i := range c.Ports {
				f.record(c, &c.Ports[i])
			}
			return time.Since(start)
		}
	}
	return time.Since(start)
}

// record reports a binding.
func (f *fleet) record(c api.Claim, p *api.ClaimedPort) {
	f.mu.Lock()
	f.listen(c.PodUID, p)
	f.mu.Unlock()
	h := holderOf(c.Pod)
	group := api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: p.TargetGroupARN}
	if err := f.service.TargetGroup(f.Context(), h, group); err != nil {
		f.Error(err)
	}
	if err := f.service.Bound(f.Context(), h, api.BoundRequest{ClaimUID: c.UID, Fence: p.Fence, ListenerARN: p.ListenerARN}); err != nil {
		f.Error(err)
	}
}

func always() bool { return true }
func never() bool  { return false }

// TestBrokenDeploymentDoesNotDelayOthers: AWS denies every attempt of 200 pods, which are
// older. Twenty others bind at the rate of AWS.
func TestBrokenDeploymentDoesNotDelayOthers(t *testing.T) {
	inFleet(t, func(f *fleet) {
		ctx, cancel := context.WithCancel(f.Context())
		defer cancel()
		for n := range 200 {
			f.busy.Go(func() { f.bindAs(ctx, fmt.Sprint("broken-", n), always) })
		}
		time.Sleep(3 * time.Minute) // in the bubble: each has failed once, and they try again
		took := make([]time.Duration, 20)
		var honest sync.WaitGroup
		for n := range took {
			honest.Go(func() { took[n] = f.bindAs(ctx, fmt.Sprint("honest-", n), never) })
		}
		honest.Wait()
		slices.Sort(took)
		if most := took[len(took)-1]; most > 20*time.Second {
			t.Errorf("20 pods took %v to bind beside a broken deployment, median %v", most, took[len(took)/2])
		}
		cancel()
	})
}

// TestRepairedDeploymentBinds within the pause of its pods.
func TestRepairedDeploymentBinds(t *testing.T) {
	inFleet(t, func(f *fleet) {
		ctx, cancel := context.WithCancel(f.Context())
		defer cancel()
		start := time.Now()
		broken := func() bool { return time.Since(start) < 20*time.Minute }
		took := make([]time.Duration, 40)
		var all sync.WaitGroup
		for n := range took {
			all.Go(func() { took[n] = f.bindAs(ctx, fmt.Sprint("broken-", n), broken) })
		}
		all.Wait()
		if most := slices.Max(took) - 20*time.Minute; most > 9*time.Minute {
			t.Errorf("the last pod took %v after it was repaired", most)
		}
		for pod, n := range f.attempts {
			if n > 6 {
				t.Errorf("%s was granted %d attempts in 20 minutes", pod, n)
			}
		}
	})
}

// TestClaimThatAsksAllTheTimeDoesNotDelayOthers: an older pod takes calls as often as it
// can, and never says that it failed.
func TestClaimThatAsksAllTheTimeDoesNotDelayOthers(t *testing.T) {
	for name, after := range map[string]func(f *fleet, h claim.Holder, c api.Claim){
		"it makes none of them": func(*fleet, claim.Holder, api.Claim) {},
		"it reports target groups": func(f *fleet, h claim.Holder, c api.Claim) {
			p := c.Ports[0]
			group := api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: targetGroupARN(p)}
			if err := f.service.TargetGroup(f.Context(), h, group); err != nil {
				f.Error(err)
			}
		},
		"it reports that it is bound": func(f *fleet, _ claim.Holder, c api.Claim) { f.record(c, &c.Ports[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(f *fleet) {
				ctx, cancel := context.WithTimeout(f.Context(), 10*time.Minute) // in the bubble
				defer cancel()
				h := holderOf("greedy")
				f.mu.Lock()
				f.pods["greedy"] = &ledger.Pod{UID: h.UID, IPs: []string{"10.9.9.9"}}
				f.mu.Unlock()
				req := api.ClaimRequest{PodUID: h.UID, PodIP: "10.9.9.9", Pool: "default", Ports: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}}}
				f.every(ctx, 200*time.Millisecond, func() {
					if c, _, err := f.service.Claim(ctx, h, req); err == nil && c.BindAfterSeconds == 0 {
						after(f, h, c)
					}
				})
				time.Sleep(2 * time.Minute) // in the bubble
				took := make([]time.Duration, 20)
				var honest sync.WaitGroup
				for n := range took {
					honest.Go(func() { took[n] = f.bindAs(ctx, fmt.Sprint("honest-", n), never) })
				}
				honest.Wait()
				if most := slices.Max(took); most > 6*time.Second {
					t.Errorf("20 pods took %v to bind beside a claim that asks all the time", most)
				}
				cancel()
			})
		})
	}
}
