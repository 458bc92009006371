package claim

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// still is a table that nobody changes.
type still[T any] struct {
	ledger.Table[T]
	all []ledger.Record[T]
}

func (s still[T]) CachedAll() []ledger.Record[T] { return s.all }

func (s still[T]) OfPodIP(context.Context, string, string) ([]ledger.Record[T], error) {
	return nil, errors.New("not asked")
}

type fixed struct {
	Pools
	from pool.Pool
}

func (f fixed) Pool(string) (pool.Pool, bool) { return f.from, true }

// BenchmarkPlan chooses the last free port of pools of two sizes. What it takes
// grows with the ports that are looked through in memory, and with nothing else.
func BenchmarkPlan(b *testing.B) {
	for _, loadBalancers := range []int{6, 60} {
		b.Run(fmt.Sprintf("%d ports", loadBalancers*50), func(b *testing.B) {
			from := pool.Pool{Name: "default", Terms: pool.Terms{Protocols: []api.Protocol{api.UDP}, Placement: pool.Spread, Sticky: time.Minute}}
			var claims []ledger.Record[ledger.Claim]
			var ports []ledger.Record[ledger.Port]
			for n := range loadBalancers {
				lb := pool.LoadBalancer{Ranges: []pool.Range{{From: 30000, To: 30049}}, Limit: 50}
				lb.ARN = fmt.Sprintf("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/net/games/%016x", n)
				from.LoadBalancers = append(from.LoadBalancers, lb)
				for port := 30000; port < 30050; port++ {
					if n == 0 && port == 30000 {
						continue
					}
					name := fmt.Sprintf("claim-%d-%d", n, port)
					claims = append(claims, ledger.Record[ledger.Claim]{Name: name, Value: ledger.Claim{State: ledger.Granted, Pool: from.Name}})
					ports = append(ports, ledger.Record[ledger.Port]{
						Name:  ledger.PortName(ledger.LoadBalancerID(lb.ARN), port),
						Value: ledger.Port{LoadBalancerARN: lb.ARN, ListenerPort: port, State: ledger.Bound, Holder: name, Generation: 1},
					})
				}
			}
			s := New(Config{
				Claims: still[ledger.Claim]{all: claims}, Ports: still[ledger.Port]{all: ports}, Pools: fixed{from: from},
				Age: func(string, string) time.Duration { return 0 }, NewEpoch: func() string { return "e" }, RenewEvery: time.Second,
			})
			r := ledger.Record[ledger.Claim]{Name: "claim-new", Value: ledger.Claim{
				PodUID: "new", Pool: from.Name, State: ledger.Waiting, Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}},
			}}
			for b.Loop() {
				if next, err := s.plan(r, s.viewPorts(), nil); err != nil || len(next.Ports) != 1 {
					b.Fatal(next, err)
				}
			}
		})
	}
}

// TestNothingIsPlannedOnAClosedLoadBalancer has one that is open and one that is
// cordoned and emptier.
func TestNothingIsPlannedOnAClosedLoadBalancer(t *testing.T) {
	ranges := []pool.Range{{From: 30000, To: 30009}}
	open := pool.LoadBalancer{LoadBalancer: api.LoadBalancer{ARN: "open"}, Ranges: ranges, Limit: 50, Occupied: map[int]bool{443: true}}
	closed := pool.LoadBalancer{LoadBalancer: api.LoadBalancer{ARN: "closed"}, Cordoned: "cordoned by alice: soon", Ranges: ranges, Limit: 50}
	plan := func(lbs ...pool.LoadBalancer) (ledger.Claim, error) {
		s := New(Config{
			Claims: still[ledger.Claim]{}, Ports: still[ledger.Port]{}, Pools: fixed{from: pool.Pool{Name: "default", LoadBalancers: lbs}},
			Age: func(string, string) time.Duration { return 0 }, NewEpoch: func() string { return "e" }, RenewEvery: time.Second,
		})
		return s.plan(ledger.Record[ledger.Claim]{Name: "claim-new", Value: ledger.Claim{
			PodUID: "new", Pool: "default", State: ledger.Waiting, Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}},
		}}, s.viewPorts(), nil)
	}
	if c, err := plan(closed, open); err != nil || c.LoadBalancer.ARN != "open" {
		t.Errorf("planned on %s, %v", c.LoadBalancer.ARN, err)
	}
	if c, err := plan(closed); !errors.Is(err, pool.ErrExhausted) {
		t.Errorf("planned on %s, %v", c.LoadBalancer.ARN, err)
	}
}
