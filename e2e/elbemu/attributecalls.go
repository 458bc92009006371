package elbemu

import "maps"

func decodeModifyLoadBalancerAttributes(p fields) step {
	arn := p.required("LoadBalancerArn")
	wanted := p.readAttributes("Load balancer", loadBalancerChecks)
	return func(s *state) (any, *APIError) {
		lb, err := s.findLoadBalancer(arn)
		if err != nil {
			return nil, err
		}
		maps.Copy(lb.attributes, wanted)
		s.changed()
		return attributesResult{listOf(lb.attributes.xml())}, nil
	}
}

func decodeDescribeLoadBalancerAttributes(p fields) step {
	arn := p.required("LoadBalancerArn")
	return func(s *state) (any, *APIError) {
		lb, err := s.findLoadBalancer(arn)
		if err != nil {
			return nil, err
		}
		return attributesResult{listOf(lb.attributes.xml())}, nil
	}
}

func decodeModifyTargetGroupAttributes(p fields) step {
	arn := p.required("TargetGroupArn")
	wanted := p.readAttributes("Target group", targetGroupChecks)
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		if err := g.admits(wanted); err != nil {
			return nil, err
		}
		s.removeDrained(g) // targets whose old delay has passed must not drain again under a longer one
		maps.Copy(g.attributes, wanted)
		s.changed()
		return attributesResult{listOf(g.attributes.xml())}, nil
	}
}

// admits refuses attributes that the group's protocol does not support. Source: the API
// model's TargetGroupAttribute.
func (g *targetGroup) admits(wanted attributes) *APIError {
	datagrams := g.protocol == "UDP" || g.protocol == "TCP_UDP"
	switch {
	case wanted[attrPreserveClientIP] == "false" && (datagrams || isQUIC(g.protocol)):
		return refuse(codeInvalidConfiguration, "Client IP preservation cannot be disabled for target groups with protocol '%s'", g.protocol)
	case wanted[attrUnhealthyCuts] == "true" && datagrams:
		return refuse(codeInvalidConfiguration, "Connection termination for unhealthy targets cannot be enabled for target groups with protocol '%s'", g.protocol)
	case wanted.seconds(attrUnhealthyDrain) > 0 && g.cutsUnhealthy(wanted):
		return refuse(codeInvalidConfiguration, "The unhealthy draining interval can only be configured when connection termination for unhealthy targets is disabled")
	case wanted[attrProxyProtocol] == "true" && isQUIC(g.protocol):
		return refuse(codeInvalidConfiguration, "Proxy protocol cannot be enabled for target groups with protocol '%s'", g.protocol)
	case wanted[attrDrainSeconds] != "" && wanted[attrDrainSeconds] != "300" && isQUIC(g.protocol):
		return refuse(codeInvalidConfiguration, "The deregistration delay of target groups with protocol '%s' is always 300 seconds", g.protocol)
	}
	return nil
}

// cutsUnhealthy reports whether unhealthy targets lose their flows once the wanted
// attributes are in effect.
func (g *targetGroup) cutsUnhealthy(wanted attributes) bool {
	if value, ok := wanted[attrUnhealthyCuts]; ok {
		return value == "true"
	}
	return g.attributes[attrUnhealthyCuts] == "true"
}

func decodeDescribeTargetGroupAttributes(p fields) step {
	arn := p.required("TargetGroupArn")
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		return attributesResult{listOf(g.attributes.xml())}, nil
	}
}

func decodeModifyListenerAttributes(p fields) step {
	arn := p.required("ListenerArn")
	wanted := p.readAttributes("Listener", listenerChecks)
	return func(s *state) (any, *APIError) {
		l, err := s.findListener(arn)
		if err != nil {
			return nil, err
		}
		if l.settings.protocol != "TCP" && l.settings.protocol != "TLS" {
			return nil, refuse(codeInvalidConfiguration, "Listener attribute '%s' is not supported for protocol '%s'", attrIdleTimeout, l.settings.protocol)
		}
		maps.Copy(l.attributes, wanted)
		s.changed()
		return attributesResult{listOf(l.attributes.xml())}, nil
	}
}

func decodeDescribeListenerAttributes(p fields) step {
	arn := p.required("ListenerArn")
	return func(s *state) (any, *APIError) {
		l, err := s.findListener(arn)
		if err != nil {
			return nil, err
		}
		return attributesResult{listOf(l.attributes.xml())}, nil
	}
}
