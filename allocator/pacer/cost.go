package pacer

import (
	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// costs are those of the calls that bind the ports of a claim.
type costs struct {
	// create is for the missing target groups, connect for the rest of ports that have one,
	// and follow for the rest of those that do not.
	create, connect, follow budget.Tokens
	// started is true if a port has a target group and no listener.
	started bool
}

// costOf takes the records of a claim's ports in the order of its plan. A record that is
// missing has nothing in AWS.
func costOf(claim ledger.Claim, ports []ledger.Port) (c costs) {
	for i, planned := range claim.Ports {
		var port ledger.Port
		if i < len(ports) {
			port = ports[i]
		}
		switch connect := connectCost(planned, claim.Retries.Failing); {
		case port.State == ledger.Bound:
			c.connect = c.connect.Plus(budget.CheckCost)
		case port.ListenerARN != "": // it was bound, and somebody has changed it
			c.connect, c.started = c.connect.Plus(budget.TargetGroupCost).Plus(connect).Plus(budget.RepairCost), true
		case port.TargetGroupARN != "":
			c.connect, c.started = c.connect.Plus(connect), true
		default:
			c.create, c.follow = c.create.Plus(budget.TargetGroupCost), c.follow.Plus(connect)
		}
	}
	return c
}

// connectCost is the cost of a port that has a target group. An agent that tries again first
// reads what is there.
func connectCost(p ledger.PlannedPort, again bool) budget.Tokens {
	cost := budget.ConnectCost
	if len(p.Attributes) > 0 {
		cost = cost.Plus(budget.AttributesCost)
	}
	if again {
		cost = cost.Plus(budget.DescribeCost)
	}
	return cost
}

// next is the cost of the calls that come next: an agent creates all target groups before it
// uses any.
func (c costs) next() budget.Tokens {
	if c.create != (budget.Tokens{}) {
		return c.create
	}
	return c.connect
}

func (c costs) all() budget.Tokens { return c.create.Plus(c.connect).Plus(c.follow) }
