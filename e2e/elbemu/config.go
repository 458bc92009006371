package elbemu

import (
	cryptorand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"time"
)

// Config describes the emulated account. The zero value is account 000000000000 in
// us-east-1, with VPC vpc-local (127.30.0.0/16) and two subnets in two zones. It has the
// profile instant, no data plane, and every target is healthy.
type Config struct {
	Region  string // default us-east-1
	Account string // twelve digits

	VPCs    []VPC    // default: vpc-local
	Subnets []Subnet // default: subnet-local-a and -b, halves of vpc-local

	// ElasticIPs are available to new load balancers. Default: eipalloc-local-a and -b,
	// which are 198.51.100.1 and .2. No traffic reaches them.
	ElasticIPs []ElasticIP

	// Now is the only clock of the control plane. Default: time.Now.
	Now func() time.Time

	// Rand is the source of resource and request IDs. A seeded source makes runs
	// repeatable. Default: seeded from the system.
	Rand rand.Source

	Profile  Profile  // default instant
	Delays   *Delays  // nil: those of the profile
	Buckets  *Buckets // nil: those of the profile
	Quotas   Quotas   // zero fields: the published defaults
	Switches Switches

	// Healthy replaces real health checks. It gets a target's address and health check
	// port, and is called at the latest when a caller reads the target's health. It must
	// not call the emulator. If it is nil, targets are really checked with DataPlane, and
	// healthy without.
	Healthy func(ip string, port int) bool

	// DataPlane makes each load balancer listen on a loopback address of its own in
	// 127.20.0.0/16. DNSName is then that address.
	DataPlane bool

	Log *slog.Logger // default: discard
}

// VPC is a network that target groups can name.
type VPC struct {
	ID   string
	CIDR netip.Prefix
}

// Subnet is a part of a VPC in one Availability Zone. An IP target inside a subnet needs
// no zone. A target outside every subnet must name one.
type Subnet struct {
	ID   string
	CIDR netip.Prefix
	Zone string
	VPC  string // default: the VPC that contains the CIDR
}

// ElasticIP is an Elastic IP address of the account.
type ElasticIP struct {
	ID      string
	Address netip.Addr
}

// Profile selects token buckets and delays together.
type Profile string

const (
	// ProfileInstant has no throttling and no propagation delay.
	ProfileInstant Profile = "instant"
	// ProfileAWS has the published token buckets and delays.
	ProfileAWS Profile = "aws"
)

// Delays are the times until AWS carries out a call that it has already answered. Zero
// means at once.
type Delays struct {
	// Registration is how long a target of an attached group stays initial with
	// Elb.RegistrationInProgress before its first health check.
	Registration time.Duration
	// InUse is how long DeleteTargetGroup returns ResourceInUse after the group's last
	// listener was deleted.
	InUse time.Duration
	// ListenerVisible is how long Describe calls do not return a new listener.
	ListenerVisible time.Duration
	// Visible is the same for new load balancers and target groups.
	Visible time.Duration
	// TargetGroupLag is for how long any call may miss a new target group, also one that
	// changes it. Each call draws whether it does. It then returns TargetGroupNotFound;
	// DeleteTargetGroup returns what it returns for a missing group, and the group stays.
	// A repeated CreateTargetGroup always finds the group, because names are unique.
	TargetGroupLag time.Duration
	// Provisioning is how long a load balancer stays in state provisioning.
	Provisioning time.Duration
	// ListenerUp is how long the data plane refuses flows to a new listener.
	ListenerUp time.Duration
	// ListenerDown is how long the data plane still accepts flows to a deleted listener.
	// It ends early when a newer listener on the port is up.
	ListenerDown time.Duration
	// TargetIn is how long a new target of an attached group gets no flows.
	TargetIn time.Duration
	// TargetOut is how long a deregistered target still gets new flows.
	TargetOut time.Duration
}

// Quotas limit resources. A zero field means the default published in "Quotas for your
// Network Load Balancers".
type Quotas struct {
	LoadBalancers               int // 50 for each Region
	Listeners                   int // 50 for each load balancer
	TargetGroups                int // 3,000 for each Region
	TargetsPerGroup             int // 1,000
	TargetsPerLoadBalancer      int // 3,000
	TargetsCrossZone            int // 500 for each load balancer if cross-zone is on
	TargetsPerZone              int // 500 for each load balancer
	TargetGroupsPerAction       int // 5 since weighted target groups
	Tags                        int // 50 for each resource
	CertificatesPerLoadBalancer int // 25
}

func (q Quotas) resolved() Quotas {
	fill := func(field *int, standard int) {
		if *field == 0 {
			*field = standard
		}
	}
	fill(&q.LoadBalancers, 50)
	fill(&q.Listeners, 50)
	fill(&q.TargetGroups, 3000)
	fill(&q.TargetsPerGroup, 1000)
	fill(&q.TargetsPerLoadBalancer, 3000)
	fill(&q.TargetsCrossZone, 500)
	fill(&q.TargetsPerZone, 500)
	fill(&q.TargetGroupsPerAction, 5)
	fill(&q.Tags, 50)
	fill(&q.CertificatesPerLoadBalancer, 25)
	return q
}

// awsDelays are the delays of ProfileAWS: the latest published figure for each, or one
// inferred from it. The README has the source and grade of each.
var awsDelays = Delays{
	Registration:    60 * time.Second,
	InUse:           20 * time.Second,
	ListenerVisible: 2 * time.Second,
	Visible:         0,
	TargetGroupLag:  2 * time.Second,
	Provisioning:    120 * time.Second,
	ListenerUp:      30 * time.Second,
	ListenerDown:    30 * time.Second,
	TargetIn:        60 * time.Second,
	TargetOut:       80 * time.Second,
}

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

func (c Config) resolved() (Config, error) {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Account == "" {
		c.Account = "000000000000"
	}
	if !accountPattern.MatchString(c.Account) {
		return c, fmt.Errorf("account %q must be twelve digits", c.Account)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		var seed [32]byte
		cryptorand.Read(seed[:])
		c.Rand = rand.NewChaCha8(seed)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Switches.HealthCheckProtocolCode == "" {
		c.Switches.HealthCheckProtocolCode = codeInvalidConfiguration
	}
	if c.ElasticIPs == nil {
		c.ElasticIPs = []ElasticIP{
			{ID: "eipalloc-local-a", Address: netip.MustParseAddr("198.51.100.1")}, {ID: "eipalloc-local-b", Address: netip.MustParseAddr("198.51.100.2")},
		}
	}
	c.Quotas = c.Quotas.resolved()
	if err := c.resolveProfile(); err != nil {
		return c, err
	}
	return c, c.resolveNetwork()
}

// Network returns the VPCs and subnets of an emulator with this Config, including the
// defaults.
func (c Config) Network() ([]VPC, []Subnet) {
	if len(c.VPCs) == 0 && len(c.Subnets) == 0 {
		return localNetwork(c.Region)
	}
	return c.VPCs, c.Subnets
}

func (c *Config) resolveProfile() error {
	var delays Delays
	var buckets Buckets
	switch c.Profile {
	case "", ProfileInstant:
		c.Profile = ProfileInstant
	case ProfileAWS:
		delays, buckets = awsDelays, awsBuckets
	default:
		return fmt.Errorf("profile %q must be %q or %q", c.Profile, ProfileInstant, ProfileAWS)
	}
	if c.Delays == nil {
		c.Delays = &delays
	}
	if c.Buckets == nil {
		c.Buckets = &buckets
	}
	return nil
}

func (c *Config) resolveNetwork() error {
	c.VPCs, c.Subnets = c.Network()
	ids := map[string]bool{}
	for _, v := range c.VPCs {
		if v.ID == "" || !v.CIDR.IsValid() || ids[v.ID] {
			return fmt.Errorf("vpc %q with CIDR %v needs a unique ID and a valid CIDR", v.ID, v.CIDR)
		}
		ids[v.ID] = true
	}
	subnets := make([]Subnet, 0, len(c.Subnets))
	for _, s := range c.Subnets {
		if s.ID == "" || s.Zone == "" || !s.CIDR.IsValid() || ids[s.ID] {
			return fmt.Errorf("subnet %q with CIDR %v in zone %q needs a unique ID, a valid CIDR and a zone", s.ID, s.CIDR, s.Zone)
		}
		ids[s.ID] = true
		vpc, err := c.vpcOf(s)
		if err != nil {
			return err
		}
		s.VPC = vpc
		subnets = append(subnets, s)
	}
	c.Subnets = subnets
	return nil
}

func (c *Config) vpcOf(s Subnet) (string, error) {
	for _, v := range c.VPCs {
		if s.VPC != "" && s.VPC != v.ID {
			continue
		}
		if v.CIDR.Bits() <= s.CIDR.Bits() && v.CIDR.Contains(s.CIDR.Addr()) {
			return v.ID, nil
		}
		if s.VPC != "" {
			return "", fmt.Errorf("subnet %q: CIDR %v must lie inside %v of VPC %q", s.ID, s.CIDR, v.CIDR, v.ID)
		}
	}
	return "", fmt.Errorf("subnet %q: no VPC contains CIDR %v; add one", s.ID, s.CIDR)
}

// localNetwork covers 127.30.0.0/16, so that pods on loopback addresses can be targets.
func localNetwork(region string) ([]VPC, []Subnet) {
	return []VPC{{ID: "vpc-local", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
		[]Subnet{
			{ID: "subnet-local-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: region + "a"},
			{ID: "subnet-local-b", CIDR: netip.MustParsePrefix("127.30.128.0/17"), Zone: region + "b"},
		}
}
