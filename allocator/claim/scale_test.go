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

// still is a table whose cache never changes.
type still[T any] struct {
	ledger.Table[T]
	records[T]
}

func stillTable[T any](all []ledger.Record[T]) still[T] {
	x := ledger.NewIndex[T]()
	for _, r := range all {
		x.Put(r)
	}
	return still[T]{records: records[T]{x}}
}

func (s still[T]) Cached(name string) (ledger.Record[T], bool) { return s.records.Cached(name) }

func (s still[T]) CachedBy(k ledger.Key) []*ledger.Record[T] { return s.records.CachedBy(k) }

func (s still[T]) OfPodIP(context.Context, string, string) ([]ledger.Record[T], error) {
	return nil, errors.New("unexpected call")
}

func (s still[T]) OfNamespace(context.Context, string, string) ([]ledger.Record[T], error) {
	return nil, errors.New("unexpected call")
}

type fixed struct {
	Pools
	from pool.Pool
}

func (f fixed) Pool(string) (pool.Pool, bool) { return f.from, true }

// BenchmarkPlan chooses the last free port of pools of several sizes. Its time grows
// with the load balancers of the pool, slowly, and not with the ports in the ledger.
func BenchmarkPlan(b *testing.B) {
	for _, loadBalancers := range []int{2, 20, 200} {
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
				Claims: stillTable(claims), Ports: stillTable(ports), Pools: fixed{from: from},
				Age: func(string, string) time.Duration { return 0 }, NewEpoch: func() string { return "e" }, RenewEvery: time.Second, Now: time.Now, UnbindEvery: func() time.Duration { return time.Second },
			})
			r := ledger.Record[ledger.Claim]{Name: "claim-new", Value: ledger.Claim{
				PodUID: "new", Pool: from.Name, State: ledger.Waiting, Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}},
			}}
			for b.Loop() {
				now, err := s.situation(r, nil)
				if err != nil {
					b.Fatal(err)
				}
				if p := makePlan(now); p.refusal != nil || len(p.claim.Ports) != 1 {
					b.Fatal(p)
				}
			}
		})
	}
}
