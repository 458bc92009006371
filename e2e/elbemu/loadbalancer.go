package elbemu

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

type loadBalancer struct {
	resource created
	id       string // last part of the ARN
	name     string
	scheme   string
	ipType   string
	vpc      string
	subnets  []Subnet             // in order of zones
	elastic  map[string]ElasticIP // by subnet ID
	groups   []string             // security groups

	attributes attributes
	listeners  map[int]*listener // by listener port
	address    netip.Addr        // invalid without data plane
}

func (lb *loadBalancer) position() uint64 { return lb.resource.order }

type xmlLoadBalancer struct {
	LoadBalancerArn       string
	DNSName               string
	CanonicalHostedZoneID string `xml:"CanonicalHostedZoneId"`
	CreatedTime           string
	LoadBalancerName      string
	Scheme                string
	VpcID                 string `xml:"VpcId"`
	State                 struct{ Code string }
	Type                  string
	AvailabilityZones     members[xmlZone]
	SecurityGroups        members[string]
	IPAddressType         string `xml:"IpAddressType"`
}

type xmlZone struct {
	ZoneName              string
	SubnetID              string `xml:"SubnetId"`
	LoadBalancerAddresses members[xmlAddress]
}

type loadBalancersResult struct {
	LoadBalancers members[xmlLoadBalancer]
	NextMarker    string `xml:",omitempty"`
}

// hostedZone is the Route 53 hosted zone of Network Load Balancers in us-east-1. The
// emulator uses it for all Regions.
const hostedZone = "Z26RNL4JYFTOTI"

func (s *state) xmlLoadBalancer(lb *loadBalancer) xmlLoadBalancer {
	x := xmlLoadBalancer{
		LoadBalancerArn:       lb.resource.arn,
		DNSName:               s.dnsName(lb),
		CanonicalHostedZoneID: hostedZone,
		CreatedTime:           timestamp(lb.resource.at),
		LoadBalancerName:      lb.name,
		Scheme:                lb.scheme,
		VpcID:                 lb.vpc,
		Type:                  "network",
		SecurityGroups:        listOf(lb.groups),
		IPAddressType:         lb.ipType,
	}
	x.State.Code = s.loadBalancerState(lb)
	for _, subnet := range lb.subnets {
		x.AvailabilityZones.Members = append(x.AvailabilityZones.Members, xmlZone{
			ZoneName: subnet.Zone, SubnetID: subnet.ID, LoadBalancerAddresses: lb.xmlAddresses(subnet),
		})
	}
	return x
}

// dnsName returns the loopback address if there is a data plane, because no resolver knows
// the emulator's names.
func (s *state) dnsName(lb *loadBalancer) string {
	if lb.address.IsValid() {
		return lb.address.String()
	}
	return fmt.Sprintf("%s-%s.elb.%s.amazonaws.com", lb.name, lb.id, s.cfg.Region)
}

func (s *state) loadBalancerState(lb *loadBalancer) string {
	if s.now.Before(lb.resource.at.Add(s.cfg.Delays.Provisioning)) {
		return "provisioning"
	}
	return "active"
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// readName validates the name of a load balancer or target group. what is the kind of
// resource in messages. Sources: the API model; message texts seen in public issues.
func (p fields) readName(what string) string {
	name := p.required("Name")
	switch {
	case len(name) > 32:
		p.f.refuse(invalid("%s name '%.200s' cannot be longer than '32' characters", what, name))
	case !namePattern.MatchString(name):
		p.f.refuse(invalid("%s name '%s' can only contain characters that are alphanumeric characters or hyphens(-)", what, name))
	case strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-"):
		p.f.refuse(invalid("%s name '%s' cannot begin or end with a hyphen(-)", what, name))
	}
	return name
}

func (s *state) refuseDoubleHyphen(what, name string) *APIError {
	if s.cfg.Switches.RefuseDoubleHyphen && strings.Contains(name, "--") {
		return invalid("%s name '%s' cannot contain '--'", what, name)
	}
	return nil
}

type createLoadBalancer struct {
	name, scheme, ipType string
	subnets, groups      []string
	allocations          map[string]string // subnet ID to allocation ID
	tags                 tagSet
}

func decodeCreateLoadBalancer(p fields) step {
	in := createLoadBalancer{
		name:   p.readName("Load balancer"),
		scheme: p.oneOf("Scheme", "internet-facing", "internal"),
		ipType: p.oneOf("IpAddressType", "ipv4", "dualstack"),
		groups: p.texts("SecurityGroups"),
		tags:   p.readTags(),
	}
	in.subnets, in.allocations = p.readSubnets()
	if strings.HasPrefix(in.name, "internal-") {
		p.f.refuse(invalid("Load balancer name '%s' cannot begin with 'internal-'", in.name))
	}
	if kind := p.oneOf("Type", "application", "network", "gateway"); kind != "network" {
		p.f.refuse(notEmulated("load balancers of another type than network; set Type"))
	}
	return func(s *state) (any, *APIError) {
		lb, err := s.createLoadBalancer(in)
		if err != nil {
			return nil, err
		}
		return loadBalancersResult{LoadBalancers: listOf([]xmlLoadBalancer{s.xmlLoadBalancer(lb)})}, nil
	}
}

func (s *state) createLoadBalancer(in createLoadBalancer) (*loadBalancer, *APIError) {
	if in.scheme == "" {
		in.scheme = "internet-facing"
	}
	if in.ipType == "" {
		in.ipType = "ipv4"
	}
	if err := s.refuseDoubleHyphen("Load balancer", in.name); err != nil {
		return nil, err
	}
	if err := s.tooManyTags(len(in.tags)); err != nil {
		return nil, err
	}
	subnets, err := s.findSubnets(in.subnets)
	if err != nil {
		return nil, err
	}
	elastic, err := s.findElasticIPs(in)
	if err != nil {
		return nil, err
	}
	for _, lb := range s.loadBalancers {
		if lb.name != in.name {
			continue
		}
		if lb.scheme == in.scheme && lb.ipType == in.ipType && slices.Equal(lb.subnets, subnets) && maps.Equal(lb.elastic, elastic) &&
			slices.Equal(lb.groups, in.groups) && s.sameTags(lb.resource.tags, in.tags) {
			return lb, nil
		}
		return nil, refuse(codeDuplicateLB, "A load balancer with the same name '%s' exists, but with different settings", in.name)
	}
	if len(s.loadBalancers) >= s.cfg.Quotas.LoadBalancers {
		return nil, refuse(codeTooManyLBs, "The maximum number of load balancers '%d' has been reached", s.cfg.Quotas.LoadBalancers)
	}
	if err := s.elasticIPsInUse(elastic); err != nil {
		return nil, err
	}
	lb := &loadBalancer{
		id: s.hexID(), name: in.name, scheme: in.scheme, ipType: in.ipType, groups: in.groups,
		vpc: subnets[0].VPC, subnets: subnets, elastic: elastic,
		attributes: newLoadBalancerAttributes(in.scheme),
		listeners:  map[int]*listener{},
	}
	if s.place != nil {
		lb.address, err = s.place()
		if err != nil {
			return nil, err
		}
	}
	lb.resource = s.newResource(s.arn("loadbalancer/net/"+lb.name+"/"+lb.id), in.tags)
	s.loadBalancers[lb.resource.arn] = lb
	return lb, nil
}

// findLoadBalancer returns a load balancer that is visible to the current call.
func (s *state) findLoadBalancer(arn string) (*loadBalancer, *APIError) {
	if !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":loadbalancer/") {
		return nil, invalid("'%.200s' is not a valid load balancer ARN", arn)
	}
	lb, ok := s.loadBalancers[arn]
	if !ok || !s.visible(lb.resource, s.cfg.Delays.Visible) {
		return nil, refuse(codeLoadBalancerNotFound, "Load balancer '%s' not found", arn)
	}
	return lb, nil
}

func decodeDescribeLoadBalancers(p fields) step {
	arns, names, selected := p.texts("LoadBalancerArns"), p.texts("Names"), p.readPage()
	switch {
	case len(arns) > 0 && len(names) > 0:
		p.f.refuse(invalid("Load balancer names and load balancer ARNs cannot be specified at the same time"))
	case len(arns) > maxARNs || len(names) > maxARNs:
		p.f.refuse(invalid("A maximum of %d load balancers can be specified in a single call", maxARNs))
	}
	return func(s *state) (any, *APIError) {
		asked := len(arns)+len(names) > 0
		found := inOrder(s.loadBalancers, func(lb *loadBalancer) bool {
			return s.visible(lb.resource, s.cfg.Delays.Visible) &&
				(!asked || slices.Contains(arns, lb.resource.arn) || slices.Contains(names, lb.name))
		})
		if asked && len(found) < distinct(arns)+distinct(names) {
			return nil, refuse(codeLoadBalancerNotFound, "One or more load balancers not found")
		}
		shown, next := cut(selected, found)
		result := loadBalancersResult{NextMarker: next}
		for _, lb := range shown {
			result.LoadBalancers.Members = append(result.LoadBalancers.Members, s.xmlLoadBalancer(lb))
		}
		return result, nil
	}
}

func distinct(values []string) int {
	seen := map[string]bool{}
	for _, v := range values {
		seen[v] = true
	}
	return len(seen)
}

func decodeDeleteLoadBalancer(p fields) step {
	arn := p.required("LoadBalancerArn")
	return func(s *state) (any, *APIError) {
		lb, err := s.findLoadBalancer(arn)
		if err != nil {
			if err.Code == codeLoadBalancerNotFound {
				return void{}, nil // documented: a missing load balancer is a success
			}
			return nil, err
		}
		if lb.attributes[attrDeletionProtection] == "true" {
			return nil, refuse(codeNotPermitted, "Load balancer '%s' cannot be deleted because deletion protection is enabled", arn)
		}
		for _, port := range slices.Sorted(maps.Keys(lb.listeners)) {
			s.removeListener(lb.listeners[port])
		}
		delete(s.loadBalancers, arn)
		s.gone = slices.DeleteFunc(s.gone, func(l goneListener) bool { return l.lb == lb })
		s.cutFlows(Cut{LoadBalancer: arn})
		return void{}, nil
	}
}

func (lb *loadBalancer) crossZone() bool { return lb.attributes[attrCrossZone] == "true" }

func (lb *loadBalancer) inZone(zone string) bool {
	return zone == "all" || slices.ContainsFunc(lb.subnets, func(n Subnet) bool { return n.Zone == zone })
}
