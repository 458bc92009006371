package lifecycle_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func (l *ledger) now() api.Claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim == nil {
		return api.Claim{}
	}
	return l.copy()
}

// The one load balancer's listener ports that the ledger grants.
const (
	firstPort    = 30000
	renewSeconds = 30
	ledgerID     = "ledger-uid"
)

// ledger is an allocator in memory, for one pod. It asserts the contract: reports must
// match what was granted, and come in order.
type ledger struct {
	t *testing.T

	mu           sync.Mutex // guards all below
	loadBalancer api.LoadBalancer
	claim        *api.Claim
	serial       int
	releasing    bool
	generations  map[int]int // listener port → generation
	blocked      map[int]bool
	recorded     map[string]bool // every target group ever recorded
	rebind       []string
	// janitorUnbinds and janitorDeregisters are how a release answers, and deregistered is
	// whether the agent has reported that.
	janitorUnbinds, janitorDeregisters, deregistered bool
	seen                                             []string
	finished                                         []string
	presented                                        []api.ClaimedPort // of the last renewal
	throttled                                        []int             // as reported by every claim and renewal that was answered
	// failed are the failures to bind that claims and renewals reported.
	failed []api.FailureKind
	// reached are the milestones of each renewal that was answered.
	reached    []api.Milestones
	attributes map[string]string // of every port
	// inUseSeconds is what agents are told.
	inUseSeconds float64
	// grants decides how many describe calls the AWS budget grants, or when to ask again;
	// nil grants all. granted is how many it has granted so far.
	grants  func(asked int) (granted int, later float64)
	granted int
	// queue decides how long binding has to wait; nil: not at all.
	queue func() time.Duration
	// moves is the load balancer that the next collision moves the claim to.
	moves *api.LoadBalancer
	// hang, if not nil, keeps every call waiting until it is closed.
	hang chan struct{}
	// refuse decides with which error a call is refused; nil refuses none.
	refuse func(call string) error
	// targets reports whether an address is a target in any target group.
	targets func(ip string) bool
}

func newLedger(t *testing.T, lb api.LoadBalancer) *ledger {
	return &ledger{
		t: t, loadBalancer: lb, generations: make(map[int]int), blocked: make(map[int]bool), recorded: make(map[string]bool),
	}
}

// enter notes a call and returns the error to refuse it with. It locks; the caller
// unlocks.
func (l *ledger) enter(call string) error {
	l.mu.Lock()
	l.seen = append(l.seen, call)
	if hang := l.hang; hang != nil {
		l.mu.Unlock()
		<-hang
		l.mu.Lock()
	}
	if l.refuse == nil {
		return nil
	}
	return l.refuse(call)
}

func (l *ledger) count(call string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.seen {
		if s == call {
			n++
		}
	}
	return n
}

func (l *ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *ledger) Claim(_ context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	err := l.enter("claim")
	defer l.mu.Unlock()
	if err != nil {
		return api.Claim{}, err
	}
	if err := r.Validate(); err != nil {
		l.t.Errorf("invalid request: %v", err)
	}
	if l.releasing {
		return api.Claim{}, api.Errorf(api.Releasing, "still releasing").WithRetryAfter(time.Second)
	}
	if l.claim == nil {
		l.serial++
		l.claim = &api.Claim{
			UID: fmt.Sprintf("claim-%d", l.serial), Ledger: ledgerID, Namespace: namespace, Pod: pod, PodUID: r.PodUID, Pool: r.Pool,
			LoadBalancer: l.loadBalancer, DurationSeconds: 4 * renewSeconds, RenewSeconds: renewSeconds, InUseSeconds: l.inUseSeconds,
		}
		for _, p := range r.Ports {
			l.claim.Ports = append(l.claim.Ports, l.grant(p, r.HealthPort))
		}
	}
	l.recordIP(r)
	l.throttled, l.failed = append(l.throttled, r.Throttled), append(l.failed, r.Failed)
	return l.paced(), nil
}

// paced is the claim with the wait in the queue.
func (l *ledger) paced() api.Claim {
	c := l.copy()
	if c.PreviousIP != "" {
		c.BindAfterSeconds = 1
		return c
	}
	if l.queue != nil {
		c.BindAfterSeconds = l.queue().Seconds()
	}
	return c
}

// grant grants the lowest port that is neither granted nor blocked.
func (l *ledger) grant(p api.Port, healthPort int) api.ClaimedPort {
	port := firstPort
	for l.blocked[port] || slices.ContainsFunc(l.claim.Ports, func(q api.ClaimedPort) bool { return q.ListenerPort == port }) {
		port++
	}
	l.generations[port]++
	f := api.Fence{Lease: fmt.Sprintf("lb-%d", port), Epoch: "e", Generation: l.generations[port]}
	check := api.HealthCheck{Protocol: "TCP", IntervalSeconds: 10, HealthyThreshold: 2, UnhealthyThreshold: 2}
	if p.Protocol == api.UDP {
		check.Protocol, check.Port, check.Path = "HTTP", healthPort, api.HealthPath
	}
	return api.ClaimedPort{Port: p, ListenerPort: port, Fence: f, TargetGroupName: elb.TargetGroupName(ledgerID, f), HealthCheck: check, Attributes: l.attributes}
}

func (l *ledger) copy() api.Claim {
	c := *l.claim
	c.Ports = slices.Clone(c.Ports)
	return c
}

// held finds a port of the claim; lost without it.
func (l *ledger) held(claimUID string, f api.Fence) (*api.ClaimedPort, error) {
	if l.claim != nil && !l.releasing && l.claim.UID == claimUID {
		for i := range l.claim.Ports {
			if l.claim.Ports[i].Fence == f {
				return &l.claim.Ports[i], nil
			}
		}
	}
	return nil, api.Errorf(api.Lost, "fence %+v is over", f)
}

func (l *ledger) TargetGroup(_ context.Context, _, _ string, r api.TargetGroupRequest) error {
	err := l.enter("targetgroup")
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	p, err := l.held(r.ClaimUID, r.Fence)
	if err != nil {
		return err
	}
	if !strings.Contains(r.TargetGroupARN, ":targetgroup/"+p.TargetGroupName+"/") {
		l.t.Errorf("target group %s does not have the name of its fence", r.TargetGroupARN)
	}
	if p.TargetGroupARN != r.TargetGroupARN {
		p.TargetGroupARN, p.ListenerARN = r.TargetGroupARN, ""
	}
	l.recorded[r.TargetGroupARN] = true
	return nil
}

func (l *ledger) Bound(_ context.Context, _, _ string, r api.BoundRequest) error {
	err := l.enter("bound")
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	p, err := l.held(r.ClaimUID, r.Fence)
	if err != nil {
		return err
	}
	if p.TargetGroupARN == "" {
		l.t.Errorf("listener %s was reported before its target group", r.ListenerARN)
	}
	p.ListenerARN = r.ListenerARN
	l.rebind = slices.DeleteFunc(l.rebind, func(lease string) bool { return lease == r.Fence.Lease })
	return nil
}

func (l *ledger) ReportCollision(_ context.Context, _, _ string, r api.CollisionRequest) (api.Claim, error) {
	err := l.enter("collision")
	defer l.mu.Unlock()
	if err != nil {
		return api.Claim{}, err
	}
	p, err := l.held(r.ClaimUID, r.Fence)
	if err != nil {
		return api.Claim{}, err
	}
	if l.moves != nil {
		l.claim.LoadBalancer, l.moves = *l.moves, nil
		l.blocked[p.ListenerPort] = true
	}
	if l.blocked[p.ListenerPort] {
		*p = l.grant(p.Port, p.HealthCheck.Port)
	}
	return l.copy(), nil
}

func (l *ledger) Renew(_ context.Context, _, _ string, r api.RenewRequest) (api.RenewAnswer, error) {
	err := l.enter("renew")
	defer l.mu.Unlock()
	if err != nil {
		return api.RenewAnswer{}, err
	}
	if err := r.Validate(); err != nil {
		l.t.Errorf("invalid renewal: %v", err)
	}
	if l.claim == nil || l.releasing || l.claim.UID != r.ClaimUID {
		return api.RenewAnswer{}, api.Errorf(api.Lost, "claim %s is over", r.ClaimUID)
	}
	l.presented, l.reached = r.Ports, append(l.reached, r.Milestones)
	l.throttled, l.failed = append(l.throttled, r.Throttled), append(l.failed, r.Failed)
	answer := api.RenewAnswer{Claim: l.paced(), Rebind: slices.Clone(l.rebind)}
	switch {
	case r.Describes > 0 && l.grants != nil:
		answer.Describes, answer.DescribeAfterSeconds = l.grants(r.Describes)
	default:
		answer.Describes = r.Describes
	}
	l.granted += answer.Describes
	return answer, nil
}

func (l *ledger) milestones() []api.Milestones {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.reached)
}

// lose gives the claim's ports to other pods.
func (l *ledger) lose() {
	l.change(func() {
		for _, p := range l.claim.Ports {
			l.blocked[p.ListenerPort] = true
		}
		l.claim = nil
	})
}
