package metrics

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
)

// Ledger is what metrics read with each scrape. It must not call the API server or AWS.
//
// All replicas have the same ledger. So only the leader serves these metrics, and a sum over
// the replicas counts nothing twice.
type Ledger struct {
	Leads  func() bool
	Ports  func() []*ledger.Record[ledger.Port]
	Claims func() []*ledger.Record[ledger.Claim]
	// Pools are all pools with their usable load balancers, and Available how many ports of one
	// a claim could get now.
	Pools     func() []pool.Pool
	Available func(pool.Pool) (total, available int)
	// LoadBalancers are those of all pools.
	LoadBalancers func() []inventory.State
	Budget        func() budget.State
	// TargetGroups is how many the account has, and how many it may have; 0 if that is not known.
	TargetGroups func() (used, limit int)
	// Swept and Audited are when the janitor has done that without an error; zero for never.
	Swept, Audited func() time.Time
	Now            func() time.Time
}

// Ledger registers the metrics of the ledger, once it has been read.
func (m *Metrics) Ledger(l Ledger) { m.registry.MustRegister(l) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	portsDesc         = desc("ports", "Listener ports that were claimed or blocked before, by pool, load balancer and state.", "pool", "load_balancer", "state")
	claimsDesc        = desc("claims", "Claims, by pool and state.", "pool", "state")
	waitingDesc       = desc("claims_waiting", "Claims of pods that have no endpoint yet, by pool and what they wait for.", "pool", "reason")
	oldestWaitingDesc = desc("claims_waiting_oldest_seconds", "Age of the oldest claim of a pod that has no endpoint yet, by pool; 0 if there is none.", "pool")
	targetsDesc       = desc("targets", "Bound ports, by what AWS said last of the health of their target.", "health")
	poolPortsDesc     = desc("pool_ports", "Listener ports of usable load balancers, by pool.", "pool")
	poolAvailableDesc = desc("pool_ports_available", "Listener ports that a claim could get now, by pool.", "pool")
	balancersDesc     = desc("load_balancers", "Load balancers, by pool.", "pool")
	leftOutDesc       = desc("load_balancers_left_out", "Load balancers that cannot be used now, by pool and reason.", "pool", "reason")
	cordonedDesc      = desc("load_balancers_cordoned", "Load balancers that an admin cordoned, by pool.", "pool")
	removedDesc       = desc("load_balancers_removed", "Load balancers that the pool file no longer names while ports of them are held.")
	listenersDesc     = desc("load_balancer_listeners", "Listeners of a load balancer at the last listing, own and foreign.", "load_balancer")
	listenerLimitDesc = desc("load_balancer_listener_limit", "How many listeners AWS allows a load balancer.", "load_balancer")
	groupsDesc        = desc("aws_target_groups", "Target groups of the account in this region at the last audit, whoever made them.")
	groupLimitDesc    = desc("aws_target_group_limit", "How many target groups AWS allows the account in this region.")
	foreignDesc       = desc("foreign_listeners", "Listeners on ports of the pools that are not this installation's, by pool.", "pool")
	budgetTokensDesc  = desc("aws_budget_tokens", "Tokens left in each of AWS's buckets.", "bucket")
	budgetSpeedDesc   = desc("aws_budget_speed_ratio", "Part of AWS's rate that is used now: 1, or less while AWS throttles.")
	sweptDesc         = desc("janitor_last_sweep_timestamp_seconds", "When the janitor last swept the ledger without an error, in Unix time.")
	auditedDesc       = desc("janitor_last_audit_timestamp_seconds", "When the janitor last compared AWS with the ledger without an error, in Unix time.")
)

// Describe implements prometheus.Collector.
func (l Ledger) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		portsDesc, claimsDesc, waitingDesc, oldestWaitingDesc, targetsDesc, poolPortsDesc, poolAvailableDesc, balancersDesc, leftOutDesc, cordonedDesc, removedDesc,
		listenersDesc, listenerLimitDesc, groupsDesc, groupLimitDesc, foreignDesc, budgetTokensDesc, budgetSpeedDesc, sweptDesc, auditedDesc,
	} {
		out <- d
	}
}

// sample sends one value.
type sample func(d *prometheus.Desc, value float64, labels ...string)

// Collect implements prometheus.Collector.
func (l Ledger) Collect(out chan<- prometheus.Metric) {
	if !l.Leads() {
		return
	}
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	pools, ports, balancers := l.Pools(), l.Ports(), l.LoadBalancers()
	l.collectPorts(send, pools, balancers, ports)
	l.collectClaims(send, pools, ports)
	for _, p := range pools {
		total, available := l.Available(p)
		send(poolPortsDesc, float64(total), p.Name)
		send(poolAvailableDesc, float64(available), p.Name)
	}
	l.collectLoadBalancers(send, pools, balancers)
	state := l.Budget()
	send(budgetTokensDesc, state.Tokens.Mutating, "mutating")
	send(budgetTokensDesc, state.Tokens.Registration, "registration")
	send(budgetTokensDesc, state.Tokens.Describe, "describe")
	send(budgetTokensDesc, state.Tokens.All, "all")
	send(budgetSpeedDesc, state.Speed())
	if used, limit := l.TargetGroups(); limit > 0 {
		send(groupsDesc, float64(used))
		send(groupLimitDesc, float64(limit))
	}
	for d, at := range map[*prometheus.Desc]time.Time{sweptDesc: l.Swept(), auditedDesc: l.Audited()} {
		if !at.IsZero() {
			send(d, float64(at.UnixMilli())/1000)
		}
	}
}

// collectPorts counts ports, each in the pool that has it; "" stands for none.
func (l Ledger) collectPorts(send sample, pools []pool.Pool, balancers []inventory.State, ports []*ledger.Record[ledger.Port]) {
	type key struct {
		pool, loadBalancer string
		state              ledger.PortState
	}
	first, members := make(map[string]string), make(map[string][]pool.Pool) // by load balancer
	for _, s := range slices.Backward(balancers) {
		first[s.ARN] = s.Pool
	}
	for _, p := range pools {
		for _, lb := range p.LoadBalancers {
			members[lb.ARN] = append(members[lb.ARN], p)
		}
	}
	counts := make(map[key]int)
	health, foreign := make(map[string]int), make(map[string]int)
	for _, p := range pools {
		foreign[p.Name] = 0
	}
	for _, r := range ports {
		arn := r.Value.LoadBalancerARN
		of := cmp.Or(poolOf(members[arn], arn, r.Value.ListenerPort), first[arn]) // the second if it cannot be used now
		counts[key{of, arn, r.Value.State}]++
		if r.Value.Foreign != "" {
			foreign[of]++
		}
		if r.Value.State == ledger.Bound {
			health[r.Value.TargetHealth]++
		}
	}
	for k, n := range counts {
		send(portsDesc, float64(n), k.pool, loadBalancerName(k.loadBalancer), string(k.state))
	}
	for name, n := range foreign {
		send(foreignDesc, float64(n), name)
	}
	for state, n := range health {
		if state == "" {
			state = "unknown"
		}
		send(targetsDesc, float64(n), state)
	}
}

// poolOf is the pool that has a port of a load balancer.
func poolOf(pools []pool.Pool, arn string, port int) string {
	for _, p := range pools {
		lb, _ := p.Find(arn)
		if slices.ContainsFunc(lb.Ranges, func(r pool.Range) bool { return r.Contains(port) }) {
			return p.Name
		}
	}
	return ""
}

// loadBalancerName is the part of an ARN that says which load balancer it is: net/name/id.
func loadBalancerName(arn string) string {
	_, name, _ := strings.Cut(arn, ":loadbalancer/")
	return name
}

// What a claim waits for. A pod whose claim has all ports bound has its endpoint.
const (
	waitsForPort    = "port"
	waitsForQuota   = "quota"
	waitsForAddress = "address"
	waitsForAWS     = "aws"
)

func waitsFor(c ledger.Claim, quota, unbound bool) string {
	switch {
	case c.State == ledger.ClaimReleasing:
		return ""
	case c.State == ledger.Waiting && quota && !c.Admitted:
		return waitsForQuota
	case c.State == ledger.Waiting && c.ConfirmedIP != c.PodIP:
		return waitsForAddress
	case c.State == ledger.Waiting:
		return waitsForPort
	case unbound:
		return waitsForAWS
	}
	return ""
}

// collectClaims counts claims. A pool without any counts 0.
func (l Ledger) collectClaims(send sample, pools []pool.Pool, ports []*ledger.Record[ledger.Port]) {
	type key struct{ pool, value string }
	states, waiting, oldest, quota := make(map[key]int), make(map[key]int), make(map[string]float64), make(map[string]bool)
	for _, p := range pools {
		quota[p.Name], oldest[p.Name] = p.Terms.Quota.PerNamespace > 0, 0
		for _, state := range []ledger.ClaimState{ledger.Waiting, ledger.Granted, ledger.ClaimReleasing} {
			states[key{p.Name, string(state)}] = 0
		}
		for _, reason := range []string{waitsForPort, waitsForQuota, waitsForAddress, waitsForAWS} {
			waiting[key{p.Name, reason}] = 0
		}
	}
	unbound := make(map[string]bool)
	for _, r := range ports {
		if r.Value.State == ledger.Claimed {
			unbound[r.Value.Holder] = true
		}
	}
	now := l.Now()
	for _, r := range l.Claims() {
		c := r.Value
		states[key{c.Pool, string(c.State)}]++
		if reason := waitsFor(c, quota[c.Pool], unbound[r.Name]); reason != "" {
			waiting[key{c.Pool, reason}]++
			oldest[c.Pool] = max(oldest[c.Pool], now.Sub(r.CreatedAt).Seconds())
		}
	}
	for k, n := range states {
		send(claimsDesc, float64(n), k.pool, k.value)
	}
	for k, n := range waiting {
		send(waitingDesc, float64(n), k.pool, k.value)
	}
	for name, age := range oldest {
		send(oldestWaitingDesc, age, name)
	}
}

func (l Ledger) collectLoadBalancers(send sample, pools []pool.Pool, balancers []inventory.State) {
	type key struct{ pool, reason string }
	all, cordoned, leftOut := make(map[string]int), make(map[string]int), make(map[key]int)
	for _, p := range pools {
		all[p.Name], cordoned[p.Name] = 0, 0
	}
	removed, sent := 0, make(map[string]bool)
	for _, s := range balancers {
		if !sent[s.ARN] {
			sent[s.ARN] = true
			send(listenersDesc, float64(s.Listeners), loadBalancerName(s.ARN))
			send(listenerLimitDesc, float64(s.Limit), loadBalancerName(s.ARN))
		}
		if s.Pool == "" {
			removed++
			continue
		}
		all[s.Pool]++
		if s.Cordoned != "" {
			cordoned[s.Pool]++
		}
		if s.LeftOutReason != "" {
			leftOut[key{s.Pool, s.LeftOutReason}]++
		}
	}
	for name, n := range all {
		send(balancersDesc, float64(n), name)
	}
	for name, n := range cordoned {
		send(cordonedDesc, float64(n), name)
	}
	for k, n := range leftOut {
		send(leftOutDesc, float64(n), k.pool, k.reason)
	}
	send(removedDesc, float64(removed))
}
