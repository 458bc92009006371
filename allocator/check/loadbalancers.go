package check

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// targetsCrossZone is how many targets a network load balancer may have with
// cross-zone on; no call reports it (AWS, "Quotas for your Network Load
// Balancers").
const targetsCrossZone = 500

// loadBalancers reports which load balancers the allocator would use, and which security
// groups they have.
func (r *Report) loadBalancers(ctx context.Context, client AWS, states []inventory.State) {
	var arns []string
	for _, s := range states {
		what := "load balancer " + short(s.ARN) + " in pool " + s.Pool
		if s.LeftOut != "" {
			r.add(what, Error, "left out: %s", s.LeftOut)
			continue
		}
		arns = append(arns, s.ARN)
		r.add(what, OK, "%s, network, active, cross-zone, in %s, with %d of %d listeners", s.Host, s.VPC, s.Listeners, s.Limit)
	}
	if len(arns) == 0 {
		return
	}
	found, err := client.LoadBalancers(ctx, arns...)
	if err != nil {
		r.add("security groups", Unchecked, "%v", err)
		return
	}
	for _, lb := range found {
		what := "security groups of " + short(lb.ARN)
		if len(lb.SecurityGroups) == 0 {
			r.add(what, OK, "none: the load balancer filters nothing, the pods' security groups must let players in")
			continue
		}
		r.add(what, Unchecked, "the allocator may not read their rules: %s must let players in to the listener ports, and out to the pods' target ports and to 9901", strings.Join(lb.SecurityGroups, ", "))
	}
	r.addresses(found)
}

// addresses warns of internal load balancers.
func (r *Report) addresses(found []elb.LoadBalancer) {
	for _, lb := range found {
		if lb.Scheme == "internal" {
			r.add("scheme of "+short(lb.ARN), Warning, "it is internal: only players in the VPC, or connected to it, can reach it")
		}
	}
}

// capacity compares what pools list with what load balancers can have beside what
// games have of them, and gives how many ports can be handed out.
func (r *Report) capacity(stock *inventory.Inventory, games map[string]map[int]bool, targets int) int {
	all := 0
	ports := make(map[string]int) // of each load balancer, in all pools
	for _, name := range stock.Names() {
		what := "ports of pool " + name
		from, _ := stock.Pool(name)
		listed, usable, used := 0, 0, 0
		for _, lb := range from.LoadBalancers {
			l, u, g := portsOf(lb, games[lb.ARN])
			listed, usable, used = listed+l, usable+u, used+g
			ports[lb.ARN] += u + g
		}
		all += usable
		switch {
		case usable+used == 0:
			r.add(what, Error, "it has no port to hand out: give it a load balancer that can be used and has listeners left")
		case usable == 0:
			r.add(what, Warning, "games have the %d it can have, of the %d it lists: the next pods wait until one ends, unless it is given another load balancer", used, listed)
		case usable+used < listed:
			r.add(what, Warning, "%d can be handed out of the %d it lists, and games have %d: the others are taken, or the load balancers can have no more listeners, which AWS does not raise", usable, listed, used)
		default:
			r.add(what, OK, "%d can be handed out, and games have %d", usable, used)
		}
	}
	r.targets(ports, targets)
	return all
}

// targets compares the ports of each load balancer, each of which is a target,
// with how many of those it may have; a limit of 0 is not known.
func (r *Report) targets(ports map[string]int, limit int) {
	const what = "targets of "
	if limit == 0 {
		r.add(what+"load balancers", Unchecked, "AWS does not name the limit targets-per-network-load-balancer")
		return
	}
	limit = min(limit, targetsCrossZone)
	for _, arn := range slices.Sorted(maps.Keys(ports)) {
		if ports[arn] > limit {
			r.add(what+short(arn), Warning, "%d may be needed, of %d: have the quota L-EEF1AD04 raised, or list fewer ports", ports[arn], limit)
			continue
		}
		r.add(what+short(arn), OK, "%d may be needed, of %d", ports[arn], limit)
	}
}

// portsOf is how many ports a pool lists on a load balancer, how many of them it
// could hand out, and how many games have listeners on.
func portsOf(lb pool.LoadBalancer, games map[int]bool) (listed, usable, used int) {
	free := 0
	occupied := lb.Occupied(func(api.Fence) bool { return false })
	for _, within := range lb.Ranges {
		for port := within.From; port <= within.To; port++ {
			listed++
			switch {
			case games[port]:
				used++
			case !occupied[port]:
				free++
			}
		}
	}
	return listed, max(0, min(free, lb.Limit-len(occupied))), used
}

// targetGroups compares the account's quota with a target group for each port; a
// limit of 0 is not known.
func (r *Report) targetGroups(groups []elb.TargetGroup, limit, ports int) {
	const what = "target groups for all ports"
	if limit == 0 {
		r.add(what, Unchecked, "AWS does not name the limit target-groups")
		return
	}
	if need := len(groups) + ports; need > limit {
		r.add(what, Warning, "%d are there and %d more may be needed, of %d: have the quota L-B22855CB raised to %d at least, or the last pods will wait", len(groups), ports, limit, need)
		return
	}
	r.add(what, OK, "%d are there and %d more may be needed, of %d", len(groups), ports, limit)
}
