package elbemu

import "strconv"

type xmlLimit struct{ Name, Max string }

func (q Quotas) limits() []xmlLimit {
	row := func(name string, limit int) xmlLimit { return xmlLimit{name, strconv.Itoa(limit)} }
	return []xmlLimit{
		row("target-groups", q.TargetGroups),
		row("targets-per-target-group", q.TargetsPerGroup),
		row("network-load-balancers", q.LoadBalancers),
		row("listeners-per-network-load-balancer", q.Listeners),
		row("targets-per-network-load-balancer", q.TargetsPerLoadBalancer),
		row("targets-per-availability-zone-per-network-load-balancer", q.TargetsPerZone),
		row("certificates-per-network-load-balancer", q.CertificatesPerLoadBalancer),
		row("target-groups-per-action-on-network-load-balancer", q.TargetGroupsPerAction),
		row("network-load-balancer-enis-per-vpc", 1200),
	}
}

// position allows limits to be paged like resources, by their place in the list.
type placedLimit struct {
	xmlLimit
	place uint64
}

func (l placedLimit) position() uint64 { return l.place }

func decodeDescribeAccountLimits(p fields) step {
	selected := p.readPage()
	type result struct {
		Limits     members[xmlLimit]
		NextMarker string `xml:",omitempty"`
	}
	return func(s *state) (any, *APIError) {
		var all []placedLimit
		for i, l := range s.cfg.Quotas.limits() {
			all = append(all, placedLimit{l, uint64(i) + 1})
		}
		shown, next := cut(selected, all)
		var rows []xmlLimit
		for _, l := range shown {
			rows = append(rows, l.xmlLimit)
		}
		return result{listOf(rows), next}, nil
	}
}
