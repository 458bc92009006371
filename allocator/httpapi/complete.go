package httpapi

import "github.com/portlease/portlease/shared/api"

// Empty lists are sent as [], because not every client takes null for empty.

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func completeClaim(c api.Claim) api.Claim {
	c.Ports = orEmpty(c.Ports)
	return c
}

func completePools(l api.PoolList) api.PoolList {
	l.Pools = orEmpty(l.Pools)
	for i := range l.Pools {
		p := &l.Pools[i]
		p.Protocols, p.LoadBalancers = orEmpty(p.Protocols), orEmpty(p.LoadBalancers)
		if p.Ports == nil {
			p.Ports = map[string]int{}
		}
	}
	return l
}
