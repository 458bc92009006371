package sim

import (
	"fmt"
	"time"

	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
)

// Timing is the settings of the simulated installation.
type Timing struct {
	ClaimDuration, RenewEvery time.Duration
	// Cooldown and Sticky are those of the pool.
	Cooldown, Sticky time.Duration
	// AgentGrace and DeregisterGrace are how long a stopping agent may take.
	AgentGrace, DeregisterGrace time.Duration
	TargetGroupLag              time.Duration
	SweepEvery, AuditEvery      time.Duration
	// StandbyAudits is how many times less often a standby replica lists.
	StandbyAudits  time.Duration
	DescribeEvery  time.Duration
	DescribeRetry  time.Duration
	ActTimeout     time.Duration
	ReleaseTimeout time.Duration
}

// shortTiming has the proportions of the defaults, shortened.
var shortTiming = Timing{
	ClaimDuration: claimDuration, RenewEvery: 15 * time.Second, Cooldown: cooldown, Sticky: 2 * time.Minute,
	AgentGrace: 15 * time.Second, DeregisterGrace: 3 * time.Second,
	TargetGroupLag: longestLag + longestLag/8, // by a clock that is fast
	SweepEvery:     sweepEvery, AuditEvery: 15 * time.Second, StandbyAudits: 1,
	DescribeEvery: 2 * time.Minute, DescribeRetry: 5 * time.Second, ActTimeout: 2 * time.Minute, ReleaseTimeout: 25 * time.Second,
}

// DefaultTiming is what an installation has without any settings.
var DefaultTiming = Timing{
	ClaimDuration: 2 * time.Minute, RenewEvery: 30 * time.Second, Cooldown: poolfile.DefaultCooldown, Sticky: poolfile.DefaultSticky,
	AgentGrace: 30 * time.Second, DeregisterGrace: 5 * time.Second, TargetGroupLag: time.Minute,
	SweepEvery: 2 * time.Second, AuditEvery: 30 * time.Second, StandbyAudits: 10,
	DescribeEvery: 5 * time.Minute, DescribeRetry: 5 * time.Second, ActTimeout: 10 * time.Minute, ReleaseTimeout: 25 * time.Second,
}

// Scale makes the simulated installation as large as a real one, with AWS's published
// token buckets and delays, and with the limits of the allocator's Kubernetes clients.
// Changes are checked when they are made, and everything once in a while.
type Scale struct {
	// LoadBalancers have Ports listener ports each.
	LoadBalancers, Ports int
	// Addresses is how many pod addresses there are.
	Addresses int
	Timing    Timing
}

// scaled reports whether the installation is as large as a real one.
func (w *World) scaled() bool { return w.config.Scale != nil }

// account is the configuration of an account with raised quotas.
func (s *Scale) account() elbemu.Config {
	delays, buckets := elbemu.PublishedDelays(), elbemu.PublishedBuckets()
	delays.Provisioning = 0                           // the load balancers are older than the simulation
	buckets.ResourceIntensive = elbemu.Bucket{}       // that is what makes them
	delays.TargetGroupLag = 0                         // each call sets it
	quota := max(s.Ports+10, 50)                      // and some foreign listeners
	all := max(2*quota*s.LoadBalancers, 10*quota+100) // a target group may outlive its listener
	return elbemu.Config{
		Delays: &delays, Buckets: &buckets,
		Quotas: elbemu.Quotas{Listeners: quota, TargetGroups: all, TargetsPerLoadBalancer: all, TargetsCrossZone: all, TargetsPerZone: all},
	}
}

// addresses are n addresses of the VPC.
func addresses(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("127.30.%d.%d", (9+i)/250, 1+(9+i)%250))
	}
	return all
}
