package budget

// Tokens is one number of calls for each bucket: what is left, what something
// costs, or what a second refills.
type Tokens struct {
	Mutating     float64 `json:"mutating,omitempty"`
	Registration float64 `json:"registration,omitempty"`
	Describe     float64 `json:"describe,omitempty"`
	All          float64 `json:"all,omitempty"`
}

// Costs, in calls.
var (
	// TargetGroupCost is for CreateTargetGroup.
	TargetGroupCost = Tokens{Mutating: 1, All: 1}
	// ConnectCost is for RegisterTargets, CreateListener, and reading the tags of both
	// target group and listener.
	ConnectCost = Tokens{Mutating: 1, Registration: 1, Describe: 1, All: 3}
	// CreateCost is for both.
	CreateCost = TargetGroupCost.Plus(ConnectCost)
	// AttributesCost is for ModifyTargetGroupAttributes, on top of ConnectCost.
	AttributesCost = Tokens{Mutating: 1, All: 1}
	// RepairCost is for repairing a damaged binding, on top of CreateCost: DeleteListener and
	// DeregisterTargets, and reading targets, listeners and the tags of a damaged one before.
	RepairCost = Tokens{Mutating: 1, Registration: 1, Describe: 3, All: 5}
	// CheckCost is for comparing a bound port with AWS after its agent restarted: its
	// targets, the listeners of its load balancer, and their tags.
	CheckCost = Tokens{Describe: 3, All: 3}
	// DeletionCost is for DeleteListener or DeleteTargetGroup.
	DeletionCost = Tokens{Mutating: 1, All: 1}
	// DeleteCost is for both of one binding, and the Describe calls before them.
	DeleteCost = Tokens{Mutating: 2, Describe: 2, All: 4}
	// OpportunisticCost is DeleteCost for an agent, plus one more DeleteTargetGroup and
	// its Describe calls, with which the janitor confirms the deletion.
	OpportunisticCost = Tokens{Mutating: 3, Describe: 5, All: 8}
	// DeregisterCost is for DeregisterTargets.
	DeregisterCost = Tokens{Registration: 1, All: 1}
	// DescribeCost is for one Describe call.
	DescribeCost = Tokens{Describe: 1, All: 1}
)

// Plus adds bucket by bucket.
func (t Tokens) Plus(u Tokens) Tokens {
	return Tokens{t.Mutating + u.Mutating, t.Registration + u.Registration, t.Describe + u.Describe, t.All + u.All}
}

// Minus subtracts bucket by bucket.
func (t Tokens) Minus(u Tokens) Tokens {
	return Tokens{t.Mutating - u.Mutating, t.Registration - u.Registration, t.Describe - u.Describe, t.All - u.All}
}

// Times multiplies every bucket by a factor.
func (t Tokens) Times(factor float64) Tokens {
	return Tokens{t.Mutating * factor, t.Registration * factor, t.Describe * factor, t.All * factor}
}

// by multiplies bucket by bucket.
func (t Tokens) by(u Tokens) Tokens {
	return Tokens{t.Mutating * u.Mutating, t.Registration * u.Registration, t.Describe * u.Describe, t.All * u.All}
}

func (t Tokens) atMost(u Tokens) Tokens {
	return t.combine(u, func(a, b float64) float64 { return min(a, b) })
}

func (t Tokens) atLeast(u Tokens) Tokens {
	return t.combine(u, func(a, b float64) float64 { return max(a, b) })
}

func (t Tokens) combine(u Tokens, f func(a, b float64) float64) Tokens {
	return Tokens{f(t.Mutating, u.Mutating), f(t.Registration, u.Registration), f(t.Describe, u.Describe), f(t.All, u.All)}
}

// buckets lists the numbers in a fixed order, to loop over several Tokens at once.
func (t Tokens) buckets() [4]float64 {
	return [4]float64{t.Mutating, t.Registration, t.Describe, t.All}
}

// epsilon allows for rounding: a third refilled three times counts as one.
const epsilon = 1e-6

func enough(have, need float64) bool { return have >= need-epsilon }

// covers reports whether t has at least need in every bucket that cost touches.
func (t Tokens) covers(need, cost Tokens) bool {
	have, needed := t.buckets(), need.buckets()
	for i, c := range cost.buckets() {
		if c != 0 && !enough(have[i], needed[i]) {
			return false
		}
	}
	return true
}
