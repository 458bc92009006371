package budget

import "time"

// State is what all replicas know of the buckets, as of its last write. The zero
// value is an empty bucket, so a ledger that lost its budget starts slowly
// rather than twice. It has nobody's time of day in it.
type State struct {
	// Counted is the time that was counted as refill since the Lease was made; see
	// Clock.
	Counted time.Duration `json:"counted,omitempty"`
	// Tokens is what is left; below zero while a cost is paid off that was more
	// than a whole bucket.
	Tokens Tokens `json:"tokens,omitzero"`
	// Deletes is the part of Tokens that creates leave to deletes.
	Deletes Tokens `json:"deletes,omitzero"`
	// Describes is the part of Tokens.All that creates and deletes leave to looks.
	Describes float64 `json:"describes,omitempty"`
	// Cut is the part of the refill that is left to other users of the account,
	// whose calls make AWS throttle ours: 0 to mostCut.
	Cut float64 `json:"cut,omitempty"`
	// Calm is for how many seconds nothing was cut; what is above cutPause does not
	// matter.
	Calm float64 `json:"calm,omitempty"`
	// Open are the creates that were paid for and of which nothing was seen yet,
	// oldest first.
	Open []Permit `json:"open,omitempty"`
}

// Permit is a create that was let go.
type Permit struct {
	Who  string `json:"who"`
	Cost Tokens `json:"cost"`
	// Repeats is how often Who asked for it again.
	Repeats int `json:"repeats,omitempty"`
}

const (
	// mostOpen bounds State.Open. Older permits are taken to be spent.
	mostOpen = 64
	// mostRepeats is how often a permit is given again for nothing. Who asks more
	// often has lost more than answers.
	mostRepeats = 2
	// mostDebt bounds what a State may owe, so that one that a person wrote does
	// not stop everything; 50 ports at once cost less.
	mostDebt = 300

	// hungryPart of the refill is kept for deletes while a pool is exhausted,
	// because they free ports, and fedPart otherwise.
	hungryPart = 1. / 4
	fedPart    = 1. / 16
	// lookPart of the refill is kept for looks, up to mostLooks.
	lookPart  = 1. / 16
	mostLooks = 4
)

// firstCall is what a holder that died may have spent without a trace: the
// target group that it made but did not report. Nothing else is called before
// that is recorded.
var firstCall = Tokens{Mutating: 1, All: 1}

// Demand is who waits, as the replica sees it.
type Demand struct {
	// Creates is what all waiting creates cost that were not paid for yet.
	Creates Tokens
	// Deletes is how many deletes wait.
	Deletes int
	// Exhausted is whether anybody waits for a free port.
	Exhausted bool
}

// part of the refill that is kept for deletes.
func (d Demand) part() float64 {
	switch {
	case d.Deletes <= 0:
		return 0
	case d.Exhausted:
		return hungryPart
	}
	return fedPart
}

// looks is how much is kept for looks at most.
func (l Limits) looks() float64 { return max(DescribeCost.All, min(mostLooks, l.capacity().All/4)) }

// DescribesAtOnce is how many looks may be asked for together: more than what is kept
// for them could be refused for as long as creates wait.
func (l Limits) DescribesAtOnce() int { return int(l.looks()) }

// After is the state after a time in which nobody took anything.
func (s State) After(l Limits, elapsed time.Duration, d Demand) State {
	elapsed = max(elapsed, 0)
	seconds := elapsed.Seconds()
	s.Counted += elapsed
	full := l.capacity()
	gain := l.perSecond().Times(s.uncut(seconds))
	s.Tokens = s.Tokens.atLeast(Tokens{-mostDebt, -mostDebt, -mostDebt}).Plus(gain).atMost(full)
	s.Describes = max(min(s.Describes+gain.All*lookPart, min(full.All, l.looks())), 0)
	s.Deletes = s.Deletes.Plus(gain.Times(d.part())).atMost(kept(full, d)).atLeast(Tokens{})
	s.Cut = min(max(s.Cut-seconds*recovery, 0), mostCut)
	s.Calm = min(max(s.Calm, 0)+seconds, cutPause.Seconds())
	return s
}

// kept is how much is kept for deletes at most: for those that wait, a quarter of
// the bucket at most, but always for one.
func kept(full Tokens, d Demand) Tokens {
	all := DeleteCost.Times(float64(max(d.Deletes, 0)))
	return all.atMost(full.Times(1. / 4).atLeast(DeleteCost)).atMost(full)
}

// Fate is what became of a permit.
type Fate int

const (
	// Pending is a holder of whom nothing was seen yet.
	Pending Fate = iota
	// Spent is a permit that was used.
	Spent
	// Gone is a holder that will not use it any more.
	Gone
)

// settle closes permits and takes back what dead holders left; After cuts off what
// is more than a bucket holds.
func (s State) settle(fate func(who string) Fate) State {
	if fate == nil || len(s.Open) == 0 {
		return s
	}
	var open []Permit
	for _, p := range s.Open {
		switch fate(p.Who) {
		case Pending:
			open = append(open, p)
		case Gone:
			s.Tokens = s.Tokens.Plus(p.Cost.Minus(firstCall).atLeast(Tokens{}))
		case Spent:
		}
	}
	s.Open = open
	return s
}

// HasPermit tells whether who has a permit of which nothing was seen yet.
func (s State) HasPermit(who string) bool { return s.find(who) >= 0 }

func (s State) find(who string) int {
	for i, p := range s.Open {
		if p.Who == who {
			return i
		}
	}
	return -1
}

// without closes the permit at a place; the slice of s stays as it is.
func (s State) without(at int) State {
	open := make([]Permit, 0, len(s.Open))
	s.Open = append(append(open, s.Open[:at]...), s.Open[at+1:]...)
	return s
}

func (s State) open(p Permit) State {
	open := append(make([]Permit, 0, len(s.Open)+1), s.Open...)
	open = append(open, p)
	s.Open = open[max(len(open)-mostOpen, 0):]
	return s
}
