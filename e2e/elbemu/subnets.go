package elbemu

import (
	"slices"
	"strings"
)

// xmlAddress is a fixed address in one zone. The API returns it only for load balancers
// with Elastic IPs.
type xmlAddress struct {
	IPAddress    string `xml:"IpAddress"`
	AllocationID string `xml:"AllocationId"`
}

func (lb *loadBalancer) xmlAddresses(subnet Subnet) members[xmlAddress] {
	ip, fixed := lb.elastic[subnet.ID]
	if !fixed {
		return members[xmlAddress]{}
	}
	return listOf([]xmlAddress{{IPAddress: ip.Address.String(), AllocationID: ip.ID}})
}

// readSubnets parses the subnets of a load balancer, in either form. It also returns the
// Elastic IPs: subnet ID to allocation ID.
func (p fields) readSubnets() (subnets []string, allocations map[string]string) {
	subnets = p.texts("Subnets")
	mappings := p.members("SubnetMappings")
	if len(subnets) > 0 && len(mappings) > 0 {
		p.f.refuse(invalid("Subnets and subnet mappings cannot be specified at the same time"))
	}
	allocations = make(map[string]string)
	for _, m := range mappings {
		subnet := m.required("SubnetId")
		subnets = append(subnets, subnet)
		if id := m.optional("AllocationId"); id != "" {
			allocations[subnet] = id
		}
	}
	return subnets, allocations
}

func (s *state) findSubnets(ids []string) ([]Subnet, *APIError) {
	if len(ids) == 0 {
		return nil, invalid("At least one subnet must be specified")
	}
	var found []Subnet
	for _, id := range ids {
		i := slices.IndexFunc(s.cfg.Subnets, func(n Subnet) bool { return n.ID == id })
		if i < 0 {
			return nil, refuse(codeSubnetNotFound, "The subnet ID '%.100s' does not exist", id)
		}
		subnet := s.cfg.Subnets[i]
		for _, other := range found {
			if other.Zone == subnet.Zone {
				return nil, refuse(codeInvalidConfiguration, "A load balancer cannot be attached to multiple subnets in the same Availability Zone")
			}
			if other.VPC != subnet.VPC {
				return nil, refuse(codeInvalidConfiguration, "All subnets must belong to the same VPC")
			}
		}
		found = append(found, subnet)
	}
	slices.SortFunc(found, func(a, b Subnet) int { return strings.Compare(a.Zone, b.Zone) })
	return found, nil
}

// findElasticIPs returns the Elastic IPs of a call. Sources of the refusals: the API
// model; terraform-aws-alb #285 and #171.
func (s *state) findElasticIPs(in createLoadBalancer) (map[string]ElasticIP, *APIError) {
	if len(in.allocations) > 0 && in.scheme == "internal" {
		return nil, refuse(codeInvalidConfiguration, "Elastic IPs are not supported for load balancers with scheme 'internal'")
	}
	found := make(map[string]ElasticIP)
	for subnet, id := range in.allocations {
		i := slices.IndexFunc(s.cfg.ElasticIPs, func(ip ElasticIP) bool { return ip.ID == id })
		if i < 0 {
			return nil, refuse(codeAllocationNotFound, "The allocation ID '%.100s' does not exist", id)
		}
		for _, other := range found {
			if other.ID == id {
				return nil, allocationsInUse()
			}
		}
		found[subnet] = s.cfg.ElasticIPs[i]
	}
	return found, nil
}

// elasticIPsInUse refuses Elastic IPs that another load balancer has.
func (s *state) elasticIPsInUse(wanted map[string]ElasticIP) *APIError {
	for _, lb := range s.loadBalancers {
		for _, taken := range lb.elastic {
			for _, ip := range wanted {
				if ip.ID == taken.ID {
					return allocationsInUse()
				}
			}
		}
	}
	return nil
}

func allocationsInUse() *APIError {
	return refuse(codeResourceInUse, "The allocation IDs are not available for use")
}
