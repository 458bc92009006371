package claim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// The load balancers of the tests' pool: lb-1 and lb-2, each with listener ports 1
// and 2.
const (
	lb1 = "arn/lb-1"
	lb2 = "arn/lb-2"
)

func loadBalancer(arn string) pool.LoadBalancer {
	return pool.LoadBalancer{LoadBalancer: api.LoadBalancer{ARN: arn, Host: arn + ".example"}, Ranges: []pool.Range{{From: 1, To: 2}}, Limit: 50}
}

// fence is written "lease epoch/generation", such as "lb-1-2 e/1".
func fence(text string) (f api.Fence) {
	if _, err := fmt.Sscanf(text, "%s %1s/%d", &f.Lease, &f.Epoch, &f.Generation); err != nil {
		panic(err)
	}
	return f
}

// tables is a ledger of which a test knows the ages.
type tables struct {
	ports  *ledger.Index[ledger.Port]
	claims *ledger.Index[ledger.Claim]
	ages   map[string]time.Duration
}

type records[T any] struct{ *ledger.Index[T] }

func (r records[T]) Cached(name string) (ledger.Record[T], bool) { return r.Get(name) }

func (r records[T]) CachedBy(k ledger.Key) []*ledger.Record[T] { return r.By(k) }

// given builds a situation: claim-a, of pod games/a with one port, in a pool of one
// load balancer.
type given struct {
	situation
	tables
	t *testing.T
}

func newGiven(t *testing.T) *given {
	known := tables{ledger.NewIndex[ledger.Port](), ledger.NewIndex[ledger.Claim](), make(map[string]time.Duration)}
	return &given{t: t, tables: known, situation: situation{
		ports: records[ledger.Port]{known.ports}, claims: records[ledger.Claim]{known.claims},
		age: func(name, _ string) time.Duration { return known.ages[name] },
		claim: ledger.Record[ledger.Claim]{Name: "claim-a", CreatedAt: time.Unix(100, 0), Value: ledger.Claim{
			Namespace: "games", Pod: "a", PodUID: "uid-a", PodIP: "10.0.0.1", Pool: "default", State: ledger.Waiting,
			Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, HealthPort: 9901,
		}},
		pool: pool.Pool{Name: "default", LoadBalancers: []pool.LoadBalancer{loadBalancer(lb1)}, Terms: pool.Terms{
			Placement: pool.Spread, Sticky: time.Minute, Cooldown: time.Second,
		}},
		returnPatience: 30 * time.Second, renewEvery: 10 * time.Second, unbindEvery: time.Second, epoch: "e",
	}}
}

// requests makes the claim request so many ports.
func (g *given) requests(n int) {
	g.claim.Value.Requested = nil
	for i := range n {
		g.claim.Value.Requested = append(g.claim.Value.Requested, api.Port{Name: fmt.Sprint("game-", i), TargetPort: 7777 + i, Protocol: api.UDP})
	}
}

// has gives the claim a plan on lb-1.
func (g *given) has(state ledger.ClaimState, fences ...string) {
	c := &g.claim.Value
	c.State, c.Planned, c.LoadBalancer = state, true, api.LoadBalancer{ARN: lb1}
	for _, text := range fences {
		f := fence(text)
		_, port, _ := ledger.SplitPortName(f.Lease)
		c.Ports = append(c.Ports, ledger.PlannedPort{ListenerPort: port, Fence: f})
	}
}

// port adds a cached port lease.
func (g *given) port(text string, p ledger.Port, age time.Duration) {
	f := fence(text)
	id, port, _ := ledger.SplitPortName(f.Lease)
	p.LoadBalancerARN, p.ListenerPort, p.Epoch, p.Generation = "arn/"+id, port, f.Epoch, f.Generation
	g.tables.ports.Put(ledger.Record[ledger.Port]{Name: f.Lease, Value: p})
	g.ages[f.Lease] = age
}

// older adds an older waiting claim with one port and lets a test change it.
func (g *given) older(change func(*ledger.Record[ledger.Claim], *time.Duration)) {
	o := ledger.Record[ledger.Claim]{Name: "claim-older", CreatedAt: time.Unix(99, 0), Value: ledger.Claim{
		PodIP: "10.0.0.2", ConfirmedIP: "10.0.0.2", Pool: "default", State: ledger.Waiting, Requested: make([]api.Port, 2),
	}}
	var age time.Duration
	if change != nil {
		change(&o, &age)
	}
	g.tables.claims.Put(o)
	g.ages[o.Name] = age
}

// want is what a test compares of a plan.
type want struct {
	Fences  []string
	State   ledger.ClaimState
	Changes bool
	Refusal api.Code
}

func planned(fences ...string) want { return want{fences, ledger.Waiting, true, ""} }

func refused(code api.Code) want { return want{Refusal: code} }

func outcome(p plan) want {
	got := want{Changes: p.changes}
	if p.changes {
		got.State = p.claim.State
		for _, p := range p.claim.Ports {
			got.Fences = append(got.Fences, fmt.Sprintf("%s %s/%d", p.Fence.Lease, p.Fence.Epoch, p.Fence.Generation))
		}
	}
	if problem, ok := errors.AsType[*api.Problem](p.refusal); ok {
		got.Refusal = problem.Code
	}
	return got
}
