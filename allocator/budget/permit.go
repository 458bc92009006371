package budget

import "slices"

// Permit is a create that was granted. It is unused until something in the ledger
// shows otherwise; see PermitOutcome.
type Permit struct {
	// Claim is the claim lease that was granted the calls.
	Claim string `json:"claim"`
	Cost  Tokens `json:"cost"`
	// Repeats is how often the claim has requested the same calls again.
	Repeats int `json:"repeats,omitempty"`
}

const (
	// maxPermits bounds State.Permits. Older permits are assumed to be used.
	maxPermits = 64
	// maxRepeats is how often a claim may get the same permit again without paying,
	// because the answer may have been lost. After that it pays again.
	maxRepeats = 2
)

// unrecordedCost is what a claim may have used before it died without leaving a
// record: CreateTargetGroup. The agent reports the target group before any further
// call.
var unrecordedCost = Tokens{Mutating: 1, All: 1}

// PermitOutcome is what became of a permit.
type PermitOutcome int

const (
	// PermitUnused is a permit whose calls have left no record yet.
	PermitUnused PermitOutcome = iota
	// PermitUsed is a permit whose calls were made.
	PermitUsed
	// PermitAbandoned is a permit whose claim is over and will make no more calls.
	PermitAbandoned
)

// closePermits removes used and abandoned permits and refunds the abandoned ones,
// except unrecordedCost. It may leave more tokens than a bucket holds; After
// removes those.
func (s State) closePermits(outcome func(Permit) PermitOutcome) State {
	if outcome == nil || len(s.Permits) == 0 {
		return s
	}
	var unused []Permit
	for _, p := range s.Permits {
		switch outcome(p) {
		case PermitUnused:
			unused = append(unused, p)
		case PermitAbandoned:
			s.Tokens = s.Tokens.Plus(p.Cost.Minus(unrecordedCost).atLeast(Tokens{}))
		case PermitUsed:
		}
	}
	s.Permits = unused
	return s
}

// Connects reports whether the permit is for creating listeners, and not for their target
// groups.
func (p Permit) Connects() bool { return p.Cost.Registration > 0 }

// HasPermit reports whether the claim has an unused permit.
func (s State) HasPermit(claim string) bool { return s.findPermit(claim) >= 0 }

func (s State) findPermit(claim string) int {
	return slices.IndexFunc(s.Permits, func(p Permit) bool { return p.Claim == claim })
}

// withoutPermit returns a copy without the permit at index i. The slice of s is not
// changed.
func (s State) withoutPermit(i int) State {
	s.Permits = slices.Concat(s.Permits[:i], s.Permits[i+1:])
	return s
}

// withPermit returns a copy with one more permit. The slice of s is not changed.
func (s State) withPermit(p Permit) State {
	all := slices.Concat(s.Permits, []Permit{p})
	s.Permits = all[max(len(all)-maxPermits, 0):]
	return s
}
