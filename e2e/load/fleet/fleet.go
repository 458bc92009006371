package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// fleet is many pods that are created before the first of them starts.
type fleet struct {
	pods int
	// speed is how many times faster than AWS's the clock of the buckets and delays runs.
	speed float64
	// grace is the grace period of a pod at AWS's speed; 0 if the pods are not stopped.
	grace time.Duration
	// replaces is true if pods come and go one by one. Ports that cool down are then many, and
	// half of all ports are spare.
	replaces bool
	logs     string
	// slow is by how much later the answers of the API server come to the allocators.
	slow time.Duration
	// installed is whether the load balancers are there, and ahead by how much AWS's clock was
	// set forward until then.
	installed atomic.Bool
	ahead     atomic.Int64

	*scenario.Stage
	*rig.Rig
	all []*rig.Pod
}

const (
	listenersEach = 50 // of a load balancer
	replicas      = 3
	// together is how many pods are created concurrently.
	together = 8
	// pollEvery is the interval of checks. The time at which each pod was bound comes
	// from its endpoint file.
	pollEvery = 250 * time.Millisecond
	// installStep is how far AWS's clock goes forward with each look at it while the load
	// balancers are created, so that no bucket delays that.
	installStep = 5 * time.Second
)

// delays are AWS's, except that the load balancers are there before the fleet.
func delays() elbemu.Delays {
	d := elbemu.PublishedDelays()
	d.Provisioning = 0
	return d
}

// config speeds up all times of the allocator and the agents as much as AWS's clock.
func (f *fleet) config() rig.Config {
	faster := func(d time.Duration) time.Duration { return time.Duration(float64(d) / f.speed) }
	published, late := elbemu.PublishedBuckets(), delays()
	limit := func(b elbemu.Bucket) string {
		return fmt.Sprintf("{burst: %v, perSecond: %v}", b.Capacity, b.PerSecond*f.speed)
	}
	began := time.Now()
	release := faster(25 * time.Second)
	loadBalancers := (f.pods + listenersEach - 1) / listenersEach
	switch {
	case f.replaces:
		loadBalancers *= 2
	case f.grace == 0:
		release = time.Second // they end with nobody to release to
	}
	return rig.Config{
		// A pod that does not stop in time is killed, which needs a process.
		Kube: f.Kube, Replicas: replicas, InProcess: f.grace == 0,
		LoadBalancers: loadBalancers, Alone: true, ListenerPorts: fmt.Sprintf("30000-%d", 30000+listenersEach-1),
		ClaimDuration: max(faster(2*time.Minute).Round(time.Second), 3*time.Second), RenewEvery: faster(30 * time.Second),
		SweepEvery: faster(2 * time.Second), AuditEvery: faster(30 * time.Second),
		AgentGrace: faster(30 * time.Second), Cooldown: faster(2 * time.Minute),
		InUseWindow: faster(late.InUse), Propagation: faster(max(late.TargetGroupLag, late.ListenerVisible)),
		AgentSettings: []string{"PORTLEASE_RELEASE_TIMEOUT=" + release.String()},
		Budget: fmt.Sprintf("budget:\n  mutating: %s\n  registration: %s\n  all: %s\n",
			limit(published.Mutating), limit(published.Registration), limit(published.Account)),
		Emulator: func(c *elbemu.Config) {
			c.Buckets, c.Delays = &published, &late
			c.Now = func() time.Time {
				ahead := f.ahead.Load()
				if !f.installed.Load() {
					ahead = f.ahead.Add(int64(installStep))
				}
				return began.Add(time.Duration(ahead) + time.Duration(float64(time.Since(began))*f.speed))
			}
		},
		Output: f.Out, Progress: f.Progress,
	}
}

// start starts the installation, creates the pods, and waits until all buckets are
// full, AWS's and those of the budget.
func (f *fleet) start(ctx context.Context) (err error) {
	c := f.config()
	f.Say("starting %d emulated load balancers and %d allocators", c.LoadBalancers, replicas)
	if f.Rig, err = rig.New(ctx, c); err != nil {
		return err
	}
	f.installed.Store(true)
	for _, a := range f.Replicas {
		if f.slow > 0 {
			a.SlowKubernetes(f.slow)
		}
	}
	f.Say("making %d pods", f.pods)
	if err = f.gather(ctx); err == nil {
		err = f.waitFull(ctx)
	}
	if err != nil {
		err = errors.Join(err, f.abandon(ctx))
	}
	return err
}

// startBound starts the fleet, binds it, and waits until all buckets are full again.
func (f *fleet) startBound(ctx context.Context) error {
	if err := f.start(ctx); err != nil {
		return err
	}
	_, err := f.bind(ctx)
	if err == nil {
		err = f.waitFull(ctx)
	}
	if err != nil {
		err = errors.Join(err, f.abandon(context.WithoutCancel(ctx)))
	}
	return err
}

func (f *fleet) gather(ctx context.Context) error {
	f.all = make([]*rig.Pod, f.pods)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i := range f.all {
		group.Go(func() (err error) {
			f.all[i], err = f.NewPod(ctx, fmt.Sprintf("game-%d", i), "game=7777/UDP")
			return err
		})
	}
	return group.Wait()
}

// waitFull waits until the mutating bucket no longer fills. AWS's own bucket has at
// least as many tokens as the budget knows of.
func (f *fleet) waitFull(ctx context.Context) error {
	f.Say("waiting until the buckets are full")
	before := -1.
	return rig.Eventually(ctx, "full buckets", func() error {
		now, err := f.LeaderMetric(ctx, `portlease_aws_budget_tokens{bucket="mutating"}`)
		if err == nil && (now <= 0 || now != before) {
			err = fmt.Errorf("%.1f tokens are there", now)
		}
		before = now
		return err
	})
}

// bind starts all agents at once and waits until the last pod is bound.
func (f *fleet) bind(ctx context.Context) (result, error) {
	f.Say("starting %d agents; the tokens alone take %.0f s, which are %.0f s here", f.pods, f.bound(), f.bound()/f.speed)
	r := newResult(f)
	r.before = f.Emulator.CallCounts()
	var first atomic.Pointer[time.Time]
	for _, p := range f.all {
		p.FaultAllocator(func(req *http.Request) rig.CallFault {
			if req.Method == http.MethodPut {
				now := time.Now()
				first.CompareAndSwap(nil, &now)
				r.puts.Add(1)
			}
			return rig.CallFault{}
		})
		if err := p.Start(); err != nil {
			return r, err
		}
	}
	patience, cancel := context.WithTimeout(ctx, time.Duration((3*f.bound()/f.speed+60)*float64(time.Second)))
	defer cancel()
	last, err := f.waitBound(patience)
	if err != nil {
		f.dump()
		return r, err
	}
	r.after, r.took = f.Emulator.CallCounts(), last.Sub(*first.Load())
	if f.logs != "" {
		f.dump()
	}
	return r, f.Check(ctx)
}

// bound returns how many seconds the mutating calls of all pods take at AWS's rate
// after its burst. Each pod makes two calls to bind and two to release.
func (f *fleet) bound() float64 {
	b := f.mutating()
	return max((2*float64(f.pods)-b.Capacity)/b.PerSecond, 1)
}

func (f *fleet) mutating() elbemu.Bucket { return elbemu.PublishedBuckets().Mutating }

// waitBound returns the time at which the last pod had its endpoint.
func (f *fleet) waitBound(ctx context.Context) (last time.Time, err error) {
	err = scenario.Poll(ctx, pollEvery, func() error {
		waiting := 0
		for _, p := range f.all {
			file, err := os.Stat(filepath.Join(p.Shared(), "endpoint"))
			if err != nil {
				waiting++
				continue
			}
			if at := file.ModTime(); at.After(last) {
				last = at
			}
		}
		if waiting > 0 {
			return fmt.Errorf("%d pods are not bound", waiting)
		}
		return nil
	})
	return last, err
}

// dump writes the logs of all parts.
func (f *fleet) dump() {
	if f.logs == "" {
		return
	}
	file, err := os.Create(f.logs)
	if err != nil {
		f.Say("%v", err)
		return
	}
	defer file.Close() //nolint:errcheck // logs are for people
	f.Output = file
	f.DumpLogs()
}

// abandon signals all agents at once, so that stopping them takes as long as stopping
// one.
func (f *fleet) abandon(ctx context.Context) error {
	for _, p := range f.all {
		if p != nil {
			p.Cut() // there is nobody to release to
			if err := p.Signal(); err != nil {
				return err
			}
		}
	}
	return f.Abandon(ctx)
}
