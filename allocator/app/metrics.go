package app

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/portlease/portlease/allocator/admin"
	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/api"
)

// measure registers what is read from the ledger whenever metrics are asked for.
func (p *process) measure(leases *kubelease.Leases, desk *admin.Service, pay *pacer.Pacer) {
	for _, state := range []ledger.PortState{ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown, ledger.Free, ledger.Blocked} {
		p.metrics.NewGauge(fmt.Sprintf(`portlease_ports{state=%q}`, state), func() float64 {
			n := 0
			for _, r := range leases.Ports().CachedAll() {
				if r.Value.State == state {
					n++
				}
			}
			return float64(n)
		})
	}
	for _, state := range []ledger.ClaimState{ledger.Waiting, ledger.Granted, ledger.ClaimReleasing} {
		p.metrics.NewGauge(fmt.Sprintf(`portlease_claims{state=%q}`, state), func() float64 {
			n := 0
			for _, r := range leases.Claims().CachedAll() {
				if r.Value.State == state {
					n++
				}
			}
			return float64(n)
		})
	}
	for name, left := range map[string]func(api.LoadBalancerView) bool{
		"portlease_load_balancers_left_out": func(v api.LoadBalancerView) bool { return v.LeftOut != "" },
		"portlease_load_balancers_cordoned": func(v api.LoadBalancerView) bool { return v.Cordoned != "" },
		"portlease_load_balancers_removed":  func(v api.LoadBalancerView) bool { return v.Removed },
		"portlease_load_balancers":          func(api.LoadBalancerView) bool { return true },
	} {
		p.metrics.NewGauge(name, func() float64 {
			n := 0
			for _, v := range desk.LoadBalancers() {
				if left(v) {
					n++
				}
			}
			return float64(n)
		})
	}
	for bucket, left := range map[string]func(budget.State) float64{
		"mutating":     func(s budget.State) float64 { return s.Tokens.Mutating },
		"registration": func(s budget.State) float64 { return s.Tokens.Registration },
		"all":          func(s budget.State) float64 { return s.Tokens.All },
	} {
		p.metrics.NewGauge(fmt.Sprintf(`portlease_aws_budget_tokens{bucket=%q}`, bucket), func() float64 {
			s, _ := pay.Left()
			return left(s)
		})
	}
	p.metrics.NewGauge(`portlease_aws_budget_speed`, func() float64 {
		s, _ := pay.Left()
		return s.Speed()
	})
	p.metrics.NewGauge(`portlease_pool_file_refused`, func() float64 {
		if p.poolFileRefused.Load() {
			return 1
		}
		return 0
	})
}

// measurePools sets what is counted by pool. Pools come and go with the pool
// file, so these are no fixed gauges.
func (p *process) measurePools(pools []api.PoolView) {
	for _, v := range pools {
		p.metrics.GetOrCreateGauge(fmt.Sprintf(`portlease_pool_ports_total{pool=%q}`, v.Name), nil).Set(float64(v.Ports["total"]))
		p.metrics.GetOrCreateGauge(fmt.Sprintf(`portlease_pool_ports_available{pool=%q}`, v.Name), nil).Set(float64(v.Ports["available"]))
		p.metrics.GetOrCreateGauge(fmt.Sprintf(`portlease_pool_claims_waiting{pool=%q}`, v.Name), nil).Set(float64(v.Waiting))
	}
}

// countBudget counts what was asked of the AWS budget and what came of it.
func (p *process) countBudget(class, outcome string) {
	p.metrics.GetOrCreateCounter(fmt.Sprintf(`portlease_aws_budget_asks_total{class=%q,outcome=%q}`, class, outcome)).Inc()
}

// countRefusal counts claims that were told to wait or to move, by pool.
func (p *process) countRefusal(what, pool string) {
	p.metrics.GetOrCreateCounter(fmt.Sprintf(`portlease_claims_refused_total{reason=%q,pool=%q}`, what, pool)).Inc()
}

// methods are those that the API knows.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}

// observe counts answers of the API.
func (p *process) observe(a httpapi.Answer) {
	method := a.Method
	if !slices.Contains(methods, method) {
		method = "other" // anybody can make up any number of methods
	}
	p.metrics.GetOrCreateCounter(fmt.Sprintf(`portlease_http_requests_total{method=%q,route=%q,status="%d",code=%q}`, method, a.Route, a.Status, a.Code)).Inc()
	p.metrics.GetOrCreateHistogram(fmt.Sprintf(`portlease_http_request_duration_seconds{method=%q,route=%q}`, method, a.Route)).Update(a.Took.Seconds())
}

// countJanitor counts what the janitor did and why.
func (p *process) countJanitor(action, reason string) {
	p.metrics.GetOrCreateCounter(fmt.Sprintf(`portlease_janitor_actions_total{action=%q,reason=%q}`, action, reason)).Inc()
}
