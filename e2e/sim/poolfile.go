package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
)

// file is the pool file as the admins have it.
type file struct {
	// all are the load balancers that the pool may have. Its listener ports are
	// first to first+ports-1.
	all          []string
	first, ports int
	// whole writes all ports as one range, as most pools do.
	whole  bool
	timing Timing
	// removed and excluded are the load balancers and ports that it lacks now.
	removed  map[string]bool
	excluded map[int]bool
}

// delivery is a version of the pool file on its way to a replica.
type delivery struct {
	at   time.Time
	pool poolfile.Pool
}

// makePool makes load balancers and a pool of all but one of them.
func (w *World) makePool(r *rand.Rand) error {
	w.file = file{first: 30000, ports: 2 + r.IntN(3), removed: make(map[string]bool), excluded: make(map[int]bool), timing: w.timing}
	n := 1 + r.IntN(2)
	if s := w.config.Scale; s != nil {
		n, w.file.ports, w.file.whole = s.LoadBalancers, s.Ports, true
	}
	for i := range n + 1 {
		arn, err := w.cloud.makeLoadBalancer(context.Background(), fmt.Sprintf("games-%d", i+1))
		if err != nil {
			return err
		}
		w.file.all = append(w.file.all, arn)
	}
	w.file.removed[w.file.all[n]] = true
	w.pool = w.file.pool()
	return nil
}

func (f file) pool() poolfile.Pool {
	p := poolfile.Pool{
		Name: "default",
		Terms: pool.Terms{
			Protocols: []api.Protocol{api.TCP, api.UDP, api.TCPUDP}, Placement: pool.Spread, Cooldown: f.timing.Cooldown, Sticky: f.timing.Sticky,
			HealthCheck: api.HealthCheck{IntervalSeconds: 10, TimeoutSeconds: 5, HealthyThreshold: 2, UnhealthyThreshold: 2},
		},
	}
	for _, arn := range f.all {
		if !f.removed[arn] {
			p.LoadBalancers = append(p.LoadBalancers, arn)
		}
	}
	if f.whole {
		p.Ranges = []pool.Range{{From: f.first, To: f.first + f.ports - 1}}
		return p
	}
	for port := f.first; port < f.first+f.ports; port++ {
		if !f.excluded[port] {
			p.Ranges = append(p.Ranges, pool.Range{From: port, To: port})
		}
	}
	return p
}

// offers reports whether the pool has a port of a load balancer now.
func (f file) offers(arn string, port int) bool {
	return slices.Contains(f.all, arn) && !f.removed[arn] && !f.excluded[port] && port >= f.first && port < f.first+f.ports
}

// editPool removes a load balancer or a port from the pool, or adds it again. At
// least one of each stays.
func (w *World) editPool() {
	f := &w.file
	// Where Leases are lost too, load balancers stay in the pool; the README says why.
	if w.cause.IntN(2) == 0 && !w.config.Losses {
		arn := f.all[w.cause.IntN(len(f.all))]
		if !f.removed[arn] && len(w.pool.LoadBalancers) == 1 {
			return
		}
		f.removed[arn] = !f.removed[arn]
	} else {
		port := f.first + w.cause.IntN(f.ports)
		if !f.excluded[port] && len(w.pool.Ranges) == 1 {
			return
		}
		f.excluded[port] = !f.excluded[port]
	}
	w.changePool()
}

// changePool sends the pool file to every replica.
func (w *World) changePool() {
	w.pool, w.judge.offersChanged = w.file.pool(), time.Now()
	w.trace.add("-- the pool is now %v on %v", w.pool.Ranges, w.pool.LoadBalancers)
	for _, r := range w.replicas {
		r.send(w.pool, w.cause.span(20*time.Second))
	}
}

// send delivers a version of the pool file after a time, and not before those that
// were sent earlier.
func (r *replica) send(pool poolfile.Pool, in time.Duration) {
	at := time.Now().Add(in)
	if n := len(r.files); n > 0 && r.files[n-1].at.After(at) {
		at = r.files[n-1].at
	}
	r.files = append(r.files, delivery{at, pool})
}

// takePools applies the version of the pool file that has arrived.
func (r *replica) takePools(now time.Time) {
	for len(r.files) > 0 && !r.files[0].at.After(now) {
		r.stock.SetPools([]poolfile.Pool{r.files[0].pool})
		r.described.Store(true)
		r.files = r.files[1:]
	}
}
