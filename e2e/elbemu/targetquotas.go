package elbemu

// roomForTargets checks the quotas on targets, including the fresh ones.
func (s *state) roomForTargets(g *targetGroup, fresh map[targetKey]*target) *APIError {
	quotas := s.cfg.Quotas
	count := len(fresh)
	for _, t := range g.targets {
		if !t.draining() {
			count++
		}
	}
	if count > quotas.TargetsPerGroup {
		return refuse(codeTooManyTargets, "The maximum number of targets per target group '%d' has been reached on target group '%s'", quotas.TargetsPerGroup, g.resource.arn)
	}
	lb := g.loadBalancer()
	if lb == nil {
		return nil
	}
	tally := lb.tally()
	for _, t := range fresh {
		tally.add(t)
	}
	return s.roomOn(lb, tally)
}

// targetTally counts the targets of a load balancer. A target in several groups counts
// once for each group.
type targetTally struct {
	total int
	zones map[string]int
}

func (n *targetTally) add(t *target) {
	n.total++
	n.zones[t.zone]++
}

func (n *targetTally) addGroup(g *targetGroup) {
	for _, t := range g.targets {
		if !t.draining() {
			n.add(t)
		}
	}
}

func (lb *loadBalancer) tally() *targetTally {
	n := &targetTally{zones: map[string]int{}}
	seen := map[*targetGroup]bool{}
	for _, l := range lb.listeners {
		for _, f := range l.forwards {
			if !seen[f.group] {
				seen[f.group] = true
				n.addGroup(f.group)
			}
		}
	}
	return n
}

func (s *state) roomOn(lb *loadBalancer, n *targetTally) *APIError {
	limit := s.cfg.Quotas.TargetsPerLoadBalancer
	if lb.crossZone() {
		limit = s.cfg.Quotas.TargetsCrossZone
	}
	if n.total > limit {
		return refuse(codeTooManyTargets, "The maximum number of targets per load balancer '%d' has been reached on load balancer '%s'", limit, lb.resource.arn)
	}
	for zone, count := range n.zones {
		if zone != "all" && count > s.cfg.Quotas.TargetsPerZone {
			return refuse(codeTooManyTargets, "The maximum number of targets per load balancer '%d' in Availability Zone '%s' has been reached on load balancer '%s'", s.cfg.Quotas.TargetsPerZone, zone, lb.resource.arn)
		}
	}
	return nil
}
