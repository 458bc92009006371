package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Ledger is what metrics read with each scrape. It must not call the API server or AWS.
type Ledger struct {
	Ports         func() []*ledger.Record[ledger.Port]
	Claims        func() []*ledger.Record[ledger.Claim]
	Pools         func(context.Context) (api.PoolList, error)
	LoadBalancers func() []api.LoadBalancerView
	Budget        func() budget.State
}

// Ledger registers the metrics of the ledger, once it has been read.
func (m *Metrics) Ledger(l Ledger) { m.registry.MustRegister(l) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	portsDesc          = desc("ports", "Listener ports, by state.", "state")
	claimsDesc         = desc("claims", "Claims, by state.", "state")
	poolPortsDesc      = desc("pool_ports", "Listener ports of usable load balancers, by pool.", "pool")
	poolAvailableDesc  = desc("pool_ports_available", "Listener ports that a claim could get now, by pool.", "pool")
	poolWaitingDesc    = desc("pool_claims_waiting", "Claims that wait for a free port, by pool.", "pool")
	balancersDesc      = desc("load_balancers", "Load balancers of all pools.")
	leftOutDesc        = desc("load_balancers_left_out", "Load balancers that cannot be used now.")
	cordonedDesc       = desc("load_balancers_cordoned", "Load balancers that an admin cordoned.")
	removedDesc        = desc("load_balancers_removed", "Load balancers that the pool file no longer names while ports of them are held.")
	budgetTokensDesc   = desc("aws_budget_tokens", "Tokens left in each of AWS's buckets.", "bucket")
	budgetSpeedDesc    = desc("aws_budget_speed", "Part of AWS's rate that is used now: 1, or less while AWS throttles.")
	ledgerDescriptions = []*prometheus.Desc{
		portsDesc, claimsDesc, poolPortsDesc, poolAvailableDesc, poolWaitingDesc,
		balancersDesc, leftOutDesc, cordonedDesc, removedDesc, budgetTokensDesc, budgetSpeedDesc,
	}
)

// Describe implements prometheus.Collector.
func (l Ledger) Describe(out chan<- *prometheus.Desc) {
	for _, d := range ledgerDescriptions {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (l Ledger) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	l.collectStates(send)
	l.collectLoadBalancers(send)
	if list, err := l.Pools(context.Background()); err != nil {
		out <- prometheus.NewInvalidMetric(poolPortsDesc, err)
	} else {
		for _, p := range list.Pools {
			send(poolPortsDesc, float64(p.Ports["total"]), p.Name)
			send(poolAvailableDesc, float64(p.Ports["available"]), p.Name)
			send(poolWaitingDesc, float64(p.Waiting), p.Name)
		}
	}
	state := l.Budget()
	send(budgetTokensDesc, state.Tokens.Mutating, "mutating")
	send(budgetTokensDesc, state.Tokens.Registration, "registration")
	send(budgetTokensDesc, state.Tokens.Describe, "describe")
	send(budgetTokensDesc, state.Tokens.All, "all")
	send(budgetSpeedDesc, state.Speed())
}

// collectStates counts ports and claims. A state that nothing is in counts 0.
func (l Ledger) collectStates(send func(*prometheus.Desc, float64, ...string)) {
	ports := make(map[ledger.PortState]int)
	for _, r := range l.Ports() {
		ports[r.Value.State]++
	}
	for _, state := range []ledger.PortState{ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown, ledger.Free, ledger.Blocked} {
		send(portsDesc, float64(ports[state]), string(state))
	}
	claims := make(map[ledger.ClaimState]int)
	for _, r := range l.Claims() {
		claims[r.Value.State]++
	}
	for _, state := range []ledger.ClaimState{ledger.Waiting, ledger.Granted, ledger.ClaimReleasing} {
		send(claimsDesc, float64(claims[state]), string(state))
	}
}

func (l Ledger) collectLoadBalancers(send func(*prometheus.Desc, float64, ...string)) {
	var all, leftOut, cordoned, removed float64
	for _, v := range l.LoadBalancers() {
		all++
		if v.LeftOut != "" {
			leftOut++
		}
		if v.Cordoned != "" {
			cordoned++
		}
		if v.Removed {
			removed++
		}
	}
	send(balancersDesc, all)
	send(leftOutDesc, leftOut)
	send(cordonedDesc, cordoned)
	send(removedDesc, removed)
}
