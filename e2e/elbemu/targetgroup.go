package elbemu

import (
	"slices"
	"strings"
	"time"
)

type targetGroup struct {
	resource   created
	name       string
	protocol   string
	port       int
	vpc        string
	targetType string // ip or instance
	ipType     string // ipv4 or ipv6
	check      healthCheck
	attributes attributes

	targets map[targetKey]*target
	gone    map[targetKey]goneTarget // deregistered targets that the data plane still has

	users      map[string]*listener // listeners that forward here, by ARN
	attachedAt time.Time            // when the group last got its first listener
	detachedAt time.Time            // when the group last lost its last listener; zero before
}

func (g *targetGroup) position() uint64 { return g.resource.order }

// protocols are the values of the API's ProtocolEnum.
var protocols = []string{"HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC"}

// networkProtocols are the protocols of a Network Load Balancer.
var networkProtocols = []string{"TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC"}

func isQUIC(protocol string) bool { return protocol == "QUIC" || protocol == "TCP_QUIC" }

type xmlMatcher struct {
	HTTPCode string `xml:"HttpCode"`
}

type xmlTargetGroup struct {
	TargetGroupArn             string
	TargetGroupName            string
	Protocol                   string
	Port                       int
	VpcID                      string `xml:"VpcId"`
	HealthCheckProtocol        string
	HealthCheckPort            string
	HealthCheckEnabled         bool
	HealthCheckIntervalSeconds int
	HealthCheckTimeoutSeconds  int
	HealthyThresholdCount      int
	UnhealthyThresholdCount    int
	HealthCheckPath            string      `xml:",omitempty"`
	Matcher                    *xmlMatcher `xml:",omitempty"`
	LoadBalancerArns           members[string]
	TargetType                 string
	IPAddressType              string `xml:"IpAddressType"`
}

type targetGroupsResult struct {
	TargetGroups members[xmlTargetGroup]
	NextMarker   string `xml:",omitempty"`
}

func (g *targetGroup) xml() xmlTargetGroup {
	x := xmlTargetGroup{
		TargetGroupArn:             g.resource.arn,
		TargetGroupName:            g.name,
		Protocol:                   g.protocol,
		Port:                       g.port,
		VpcID:                      g.vpc,
		HealthCheckProtocol:        g.check.protocol,
		HealthCheckPort:            g.check.port,
		HealthCheckEnabled:         true,
		HealthCheckIntervalSeconds: g.check.interval,
		HealthCheckTimeoutSeconds:  g.check.timeout,
		HealthyThresholdCount:      g.check.healthy,
		UnhealthyThresholdCount:    g.check.unhealthy,
		HealthCheckPath:            g.check.path,
		TargetType:                 g.targetType,
		IPAddressType:              g.ipType,
	}
	if g.check.codes != "" {
		x.Matcher = &xmlMatcher{g.check.codes}
	}
	if lb := g.loadBalancer(); lb != nil {
		x.LoadBalancerArns = listOf([]string{lb.resource.arn})
	}
	return x
}

// loadBalancer returns the load balancer that forwards here, or nil while the group is
// unused.
func (g *targetGroup) loadBalancer() *loadBalancer {
	for _, l := range g.users {
		return l.lb // all users belong to one load balancer
	}
	return nil
}

type createTargetGroup struct {
	name, protocol, vpc, targetType, ipType string
	port                                    *int
	check                                   healthCheckGiven
	tags                                    tagSet
}

func decodeCreateTargetGroup(p fields) step {
	in := createTargetGroup{
		name:       p.readName("Target group"),
		protocol:   p.oneOf("Protocol", protocols...),
		port:       p.number("Port", 1, 65535),
		vpc:        p.optional("VpcId"),
		targetType: p.oneOf("TargetType", "instance", "ip", "lambda", "alb"),
		ipType:     p.oneOf("IpAddressType", "ipv4", "ipv6"),
		check:      p.readHealthCheck(),
		tags:       p.readTags(),
	}
	if in.targetType == "" {
		in.targetType = "instance"
	}
	if in.ipType == "" {
		in.ipType = "ipv4"
	}
	switch {
	case in.targetType == "lambda" || in.targetType == "alb":
		p.f.refuse(notEmulated("target type %s", in.targetType))
	case in.protocol == "":
		p.f.refuse(invalid("A protocol must be specified"))
	case in.port == nil:
		p.f.refuse(invalid("A port must be specified"))
	case in.vpc == "":
		p.f.refuse(invalid("A VPC ID must be specified"))
	case !slices.Contains(networkProtocols, in.protocol):
		p.f.refuse(notEmulated("target groups with protocol %s", in.protocol))
	}
	return func(s *state) (any, *APIError) {
		g, err := s.createTargetGroup(in)
		if err != nil {
			return nil, err
		}
		return targetGroupsResult{TargetGroups: listOf([]xmlTargetGroup{g.xml()})}, nil
	}
}

func (s *state) createTargetGroup(in createTargetGroup) (*targetGroup, *APIError) {
	if err := s.refuseDoubleHyphen("Target group", in.name); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(s.cfg.VPCs, func(v VPC) bool { return v.ID == in.vpc }) {
		return nil, invalid("The VPC ID '%.100s' is not found", in.vpc)
	}
	if err := s.tooManyTags(len(in.tags)); err != nil {
		return nil, err
	}
	check, err := in.check.apply(newHealthCheck(), s, in.targetType)
	if err != nil {
		return nil, err
	}
	if g, ok := s.groupNames[in.name]; ok {
		if g.sameSettings(in, check) && s.sameTags(g.resource.tags, in.tags) {
			return g, nil
		}
		return nil, refuse(codeDuplicateTG, "A target group with the same name '%s' exists, but with different settings", in.name)
	}
	if len(s.targetGroups) >= s.cfg.Quotas.TargetGroups {
		return nil, refuse(codeTooManyTGs, "The maximum number of target groups '%d' has been reached", s.cfg.Quotas.TargetGroups)
	}
	g := &targetGroup{
		resource: s.newResource(s.arn("targetgroup/"+in.name+"/"+s.hexID()), in.tags),
		name:     in.name, protocol: in.protocol, port: *in.port, vpc: in.vpc,
		targetType: in.targetType, ipType: in.ipType, check: check,
		attributes: newTargetGroupAttributes(in.protocol, in.targetType),
		targets:    map[targetKey]*target{},
		users:      map[string]*listener{},
	}
	s.targetGroups[g.resource.arn] = g
	s.groupNames[g.name] = g
	return g, nil
}

func (g *targetGroup) sameSettings(in createTargetGroup, check healthCheck) bool {
	return g.protocol == in.protocol && g.port == *in.port && g.vpc == in.vpc &&
		g.targetType == in.targetType && g.ipType == in.ipType && g.check == check
}

// findTargetGroup returns a target group that the current call finds.
func (s *state) findTargetGroup(arn string) (*targetGroup, *APIError) {
	if !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":targetgroup/") {
		return nil, invalid("'%.200s' is not a valid target group ARN", arn)
	}
	g, ok := s.targetGroups[arn]
	if !ok || !s.finds(g) {
		return nil, refuse(codeTargetGroupNotFound, "Target group '%s' not found", arn)
	}
	return g, nil
}

func decodeDescribeTargetGroups(p fields) step {
	lbARN := p.optional("LoadBalancerArn")
	arns, names, selected := p.texts("TargetGroupArns"), p.texts("Names"), p.readPage()
	filters := 0
	for _, given := range []bool{lbARN != "", len(arns) > 0, len(names) > 0} {
		if given {
			filters++
		}
	}
	if filters > 1 {
		p.f.refuse(invalid("A load balancer ARN, target group ARNs and target group names cannot be specified at the same time"))
	}
	return func(s *state) (any, *APIError) {
		if lbARN != "" {
			if _, err := s.findLoadBalancer(lbARN); err != nil {
				return nil, err
			}
		}
		named := len(arns)+len(names) > 0
		found := inOrder(s.targetGroups, func(g *targetGroup) bool {
			switch {
			case !s.finds(g):
				return false
			case lbARN != "":
				lb := g.loadBalancer()
				return lb != nil && lb.resource.arn == lbARN
			case named:
				return slices.Contains(arns, g.resource.arn) || slices.Contains(names, g.name)
			}
			return true
		})
		if named && len(found) < distinct(arns)+distinct(names) {
			return nil, refuse(codeTargetGroupNotFound, "One or more target groups not found")
		}
		shown, next := cut(selected, found)
		result := targetGroupsResult{NextMarker: next}
		for _, g := range shown {
			result.TargetGroups.Members = append(result.TargetGroups.Members, g.xml())
		}
		return result, nil
	}
}

func decodeModifyTargetGroup(p fields) step {
	arn, given := p.required("TargetGroupArn"), p.readHealthCheck()
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		check, err := given.apply(g.check, s, g.targetType)
		if err != nil {
			return nil, err
		}
		g.check = check
		s.changed()
		return targetGroupsResult{TargetGroups: listOf([]xmlTargetGroup{g.xml()})}, nil
	}
}

func decodeDeleteTargetGroup(p fields) step {
	arn := p.required("TargetGroupArn")
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			if err.Code == codeTargetGroupNotFound && !s.cfg.Switches.MissingTargetGroupFails {
				return void{}, nil
			}
			return nil, err
		}
		lately := !g.detachedAt.IsZero() && s.now.Before(g.detachedAt.Add(s.cfg.Delays.InUse))
		if len(g.users) > 0 || lately {
			return nil, refuse(codeResourceInUse, "Target group '%s' is currently in use by a listener or a rule", arn)
		}
		delete(s.targetGroups, arn)
		delete(s.groupNames, g.name)
		s.changed()
		return void{}, nil
	}
}
