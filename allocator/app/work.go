package app

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/allocator/admin"
	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/certs"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/allocator/metrics"
	"github.com/portlease/portlease/allocator/paced"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/elb"
)

// returnPatience is how long a pod waits until its previous port is unbound: AWS reports
// a target group as in use for up to 20 s after its listener is gone.
const returnPatience = 30 * time.Second

// work reads the ledger, serves the API and runs the loops. text is the pool file as it
// was read.
func (p *process) work(ctx context.Context, file poolfile.File, text []byte, client *elb.Client) error {
	p.limits.Store(&file.Limits)
	id, err := p.ledgerID(ctx)
	if err != nil {
		return nil //nolint:nilerr // it fails only when ctx ends
	}
	var pace atomic.Pointer[pacer.Pacer]
	leases := kubelease.Open(ctx, p.kube.main, p.Namespace, p.log, kubelease.Hooks{
		Changed: func() {
			if p := pace.Load(); p != nil {
				p.Observe()
			}
		},
		Wrote: p.metrics.LeaseWrite,
	})
	if err := leases.WaitReady(ctx); err != nil {
		return nil //nolint:nilerr // it fails only when ctx ends
	}
	observer := janitor.NewObserver(time.Now)
	pay := pacer.New(pacer.Config{
		Budgets: leases.Budgets(), Claims: leases.Claims(), Ports: leases.Ports(), Limits: func() budget.Limits { return *p.limits.Load() },
		Now: time.Now, RenewEvery: p.RenewEvery, Age: observer.Age, Log: p.log, Count: p.metrics.BudgetRequest,
	})
	pace.Store(pay)
	pay.Observe()
	aws := paced.Client(client, func() *pacer.Pacer { return pay })
	stock := inventory.New(inventory.Config{Ledger: id, AWS: aws, Ports: leases.Ports(), Cordons: leases.Cordons(), Log: p.log, Parallel: parallelReads}, file.Pools)
	pods := kubepod.New(p.kube.main, p.Identity)
	wake := make(chan struct{}, 1)
	service := claim.New(claim.Config{
		Ledger: id, Claims: leases.Claims(), Ports: leases.Ports(), Pools: stock, GetPod: pods.Get,
		TargetGroupName: elb.TargetGroupName, Duration: p.ClaimDuration, RenewEvery: p.RenewEvery, ReturnPatience: returnPatience,
		Propagation: p.Propagation, InUseWindow: p.InUseWindow,
		UnbindEvery: func() time.Duration { return p.limits.Load().UnbindEvery() },
		Budget:      pay, Age: observer.Age, Count: p.metrics.Claim, Passed: p.metrics.Milestone, Now: time.Now, NewEpoch: newEpoch, Log: p.log,
		WakeJanitor: func() { signal(wake) }, Both: claim.AtOnce,
	})
	admins := admin.New(admin.Config{
		Claims: leases.Claims(), Ports: leases.Ports(), Cordons: leases.Cordons(), Stock: stock,
		Show: service.Show, GetPod: pods.Get, Now: time.Now, Log: p.log,
	})
	house := &housekeeping{
		process: p, stock: stock, leases: leases, observer: observer, wake: wake, admins: admins, poolsChanged: make(chan struct{}, 1), swept: make(chan struct{}, 1),
		janitor: janitor.New(janitor.Config{
			Ledger: id, Claims: leases.Claims(), Ports: leases.Ports(), AWS: aws, Listings: stock, Observer: observer,
			Timing:           janitor.Timing{AgentGrace: p.AgentGrace, ClaimDuration: p.ClaimDuration, DeregisterGrace: deregisterGrace, TargetGroupLag: p.TargetGroupLag, InUseWindow: p.InUseWindow},
			ReserveDeletions: pay.Delete, ReserveDeregister: pay.Deregister, TryDescribes: pay.TryDescribes, Prepaid: paced.WithPrepaid,
			GetPod: pods.Get, Warn: pods.Warn, Count: p.metrics.JanitorAction, Now: time.Now, NewEpoch: newEpoch, Log: p.log, DryRun: p.DryRun,
		}),
	}
	p.metrics.Ledger(metrics.Ledger{
		Leads: house.leading, Ports: leases.Ports().CachedAll, Claims: leases.Claims().CachedAll, Pools: stock.Pools, Available: admins.Available,
		TargetGroups:  func() (used, limit int) { return house.janitor.TargetGroups(), stock.Limits().TargetGroups },
		LoadBalancers: stock.States, Swept: house.sweptAt.time, Audited: house.auditedAt.time, Now: time.Now,
		Budget: func() budget.State {
			state, _ := pay.Left()
			return state
		},
	})
	p.metrics.Leader(house.leading)
	p.metrics.Cached(map[string]func() int{
		"claim": func() int { return len(leases.Claims().CachedAll()) }, "port": func() int { return len(leases.Ports().CachedAll()) },
	})
	p.leases.Store(leases)
	kubeAuth := auth.Kubernetes{Client: p.kube.reviews, Namespace: p.Namespace, GetPod: pods.Get}
	handler := httpapi.New(httpapi.Config{
		Claims: service, Views: admins, Operations: admins, Auth: auth.New(kubeAuth, time.Now, house.fleet), Fleet: house.fleet, Observe: p.metrics.Request,
		Probes: p.probes(), Metrics: p.metrics.Handler(), Now: time.Now, Log: p.log,
	})
	p.api.Store(&handler)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return house.observe(ctx) })
	group.Go(func() error { return house.sweeps(ctx) })
	group.Go(func() error { return house.unbinds(ctx) })
	group.Go(func() error { return house.audits(ctx) })
	group.Go(func() error { return house.countFleet(ctx) })
	group.Go(func() error {
		p.followPools(ctx, text, func(file poolfile.File) {
			p.limits.Store(&file.Limits)
			stock.SetPools(file.Pools)
			signal(house.poolsChanged)
		})
		return nil
	})
	group.Go(func() error {
		return kubelease.Lead(ctx, p.kube.election, p.Namespace, p.Identity, p.log, house.lead)
	})
	if namespaces := p.trustNamespaces(); len(namespaces) > 0 {
		publisher := certs.NewPublisher(certs.PublisherConfig{
			Trust: kubecerts.NewTrust(p.kube.main, p.Namespace), ConfigMaps: kubecerts.ConfigMaps{Client: p.kube.main}, Namespaces: namespaces,
			CACertificates: p.certificate.CACertificates, Now: time.Now, Log: p.log,
		})
		group.Go(func() error { return publisher.Run(ctx, house.leading, p.metrics.OutdatedNamespaces) })
	}
	return group.Wait()
}

// signal never blocks: one pending signal is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// newEpoch is unique: it has 80 random bits.
func newEpoch() string { return rand.Text()[:16] }
