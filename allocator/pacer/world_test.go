package pacer_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// installation is a ledger that several replicas share.
type installation struct {
	t       *testing.T
	ledger  *ledgermem.Ledger
	budgets network // to the budget; other calls are answered at once
	made    int

	mu     sync.Mutex
	counts map[string]int // class and outcome
}

const (
	renewEvery = 30 * time.Second
	watchLag   = 20 * time.Millisecond
)

func newInstallation(t *testing.T) *installation {
	t.Helper()
	return &installation{t: t, ledger: ledgermem.New(), counts: make(map[string]int)}
}

// replica is the pacer of one replica.
type replica struct {
	*pacer.Pacer
	age func(name, version string) time.Duration
}

func (i *installation) replica() *replica {
	r := new(replica)
	r.Pacer = pacer.New(pacer.Config{
		Budgets: ledgermem.NewTable(i.ledger.Budgets, i.budgets.carry, nil),
		Claims:  ledgermem.NewClaimTable(i.ledger.Claims, ledgermem.Direct, nil),
		Ports:   ledgermem.NewTable(i.ledger.Ports, ledgermem.Direct, nil),
		Limits:  budget.Default, Now: time.Now, RenewEvery: renewEvery,
		Age: func(name, version string) time.Duration {
			if r.age == nil {
				return 0
			}
			return r.age(name, version)
		},
		Log: slog.New(slog.NewTextHandler(i.t.Output(), nil)),
		Count: func(class, outcome string) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.counts[class+" "+outcome]++
		},
	})
	changed := make(chan struct{}, 1)
	i.ledger.Budgets.Watch(func(_, _ *ledger.Record[ledger.Budget]) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	go func() {
		for {
			select {
			case <-i.t.Context().Done():
				return
			case <-changed:
			}
			select {
			case <-i.t.Context().Done():
				return
			case <-time.After(watchLag):
				r.Observe()
			}
		}
	}()
	return r
}

// claim makes a granted claim whose ports have no bindings.
func (i *installation) claim(ports int) ledger.Record[ledger.Claim] {
	i.t.Helper()
	i.made++
	name := ledger.ClaimName(fmt.Sprintf("%04d", i.made))
	c := ledger.Claim{Namespace: "games", Pod: name, State: ledger.Granted}
	for n := range ports {
		f := api.Fence{Lease: fmt.Sprintf("lb-%d-%d", i.made, n), Epoch: "e", Generation: 1}
		c.Ports = append(c.Ports, ledger.PlannedPort{ListenerPort: n + 1, Fence: f})
		if _, err := i.ledger.Ports.Create(f.Lease, ledger.Port{
			State: ledger.Claimed, Holder: name, Epoch: f.Epoch, Generation: 1,
		}); err != nil {
			i.t.Fatal(err)
		}
	}
	r, err := i.ledger.Claims.Create(name, c)
	if err != nil {
		i.t.Fatal(err)
	}
	return r
}

// portsOf returns the port records of a claim's plan.
func (i *installation) portsOf(c ledger.Record[ledger.Claim]) (ports []ledger.Port) {
	for _, p := range c.Value.Ports {
		ports = append(ports, i.ledger.Ports.Value(p.Fence.Lease))
	}
	return ports
}

// change applies a change to all ports of a claim.
func (i *installation) change(c ledger.Record[ledger.Claim], change func(*ledger.Port)) {
	for _, p := range c.Value.Ports {
		i.ledger.Ports.Change(p.Fence.Lease, change)
	}
}

// bound records the target groups and listeners of all ports of a claim.
func (i *installation) bound(c ledger.Record[ledger.Claim]) {
	i.change(c, func(p *ledger.Port) { p.State, p.TargetGroupARN, p.ListenerARN = ledger.Bound, "tg", "listener" })
}

func (i *installation) remove(c ledger.Record[ledger.Claim]) {
	i.ledger.Claims.Remove(c.Name)
}

func (i *installation) count(what string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts[what]
}

// bind calls Bind, which must not fail.
func (i *installation) bind(r *replica, c ledger.Record[ledger.Claim]) time.Duration {
	i.t.Helper()
	wait, err := r.Bind(i.t.Context(), c, i.portsOf(c), 0)
	if err != nil {
		i.t.Fatal(err)
	}
	return wait
}

// fill creates the budget's Lease and waits until its buckets are full.
func (i *installation) fill(r *replica) {
	i.t.Helper()
	if err := r.WaitForDescribe(i.t.Context(), nil); err != nil {
		i.t.Fatal(err)
	}
	time.Sleep(time.Minute) // in the bubble
}

// delete reserves one deletion.
func (r *replica) delete(ctx context.Context, portLease string) (granted bool, err error) {
	n, _, err := r.Delete(ctx, portLease, 1)
	return n == 1, err
}
