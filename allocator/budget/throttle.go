package budget

import (
	"slices"
	"time"
)

// Other users of the account cause nearly all throttling, because the calls granted
// here fit the limits. So each report cuts the refill, until throttling stops. The
// refill recovers slowly, because nothing tells when the other users are done.
//
// A report is a caller's word, and a lie would slow down everybody. So it counts only
// from a claim that has calls to be throttled, and one claim alone cannot cut the
// refill by more than one step.
const (
	// cutFactor is what each cut leaves of the refill.
	cutFactor = 3. / 4
	// maxCut leaves an eighth of the refill.
	maxCut = 7. / 8
	// minCutInterval is the shortest time between two cuts. Many agents report the same
	// throttling, one after another.
	minCutInterval = 5 * time.Second
	// recoveryPerSecond is how much of the full refill comes back in a second.
	recoveryPerSecond = 1. / 120

	// minReporters is how many claims must have reported within reportPeriod before the
	// refill is cut by more than one step. Where AWS throttles, many agents notice.
	minReporters = 4
	reportPeriod = 30 * time.Second
)

// Reporter is a claim that has reported throttling.
type Reporter struct {
	Claim string `json:"claim"`
	// Seconds ago.
	Seconds float64 `json:"seconds,omitempty"`
}

// Report says that AWS throttled calls.
type Report struct {
	// Claim is the claim lease whose agent reports. It is empty for the allocator itself,
	// which is always believed.
	Claim string
	// Started is true if the ledger shows a target group of the claim and not its
	// listener: it was granted calls, has made some, and has others to make.
	Started bool
	// Outcome is as in Request.
	Outcome func(Permit) PermitOutcome
}

// Verdict is what a report leads to.
type Verdict int

const (
	// Ignored is a report by a claim that has no calls to be throttled.
	Ignored Verdict = iota
	// Known is a report of what is acted on already: the state stays.
	Known
	// Believed is a report that changes the state.
	Believed
)

// Throttled returns the state after a report. It closes the permit of the claim that
// reported. It also empties the buckets and cuts the refill, unless that was done a
// moment ago.
func Throttled(s State, l Limits, elapsed time.Duration, d Demand, r Report) (State, Verdict) {
	next, verdict := s.closePermits(r.Outcome).After(l, elapsed, d), Known
	most, repeated := maxCut, false
	if r.Claim != "" {
		permit := next.findPermit(r.Claim)
		if permit < 0 && !r.Started {
			return s, Ignored
		}
		if permit >= 0 {
			next, verdict = next.withoutPermit(permit), Believed
		}
		if repeated = next.reported(r.Claim); !repeated {
			next, verdict = next.withReporter(r.Claim), Believed
		}
		if len(next.Reporters) < minReporters {
			most = 1 - cutFactor
		} else {
			repeated = false // where that many report, each report counts
		}
	}
	if !repeated && next.SinceCut >= minCutInterval.Seconds() {
		return next.slower(most), Believed
	}
	if verdict == Known {
		return s, Known
	}
	return next, verdict
}

// slower returns the state after a cut to at most the given fraction.
func (s State) slower(most float64) State {
	s.Tokens = s.Tokens.atMost(Tokens{})
	s.DeleteReserve, s.RetryReserve, s.DescribeReserve = Tokens{}, Tokens{}, 0
	s.Cut = max(s.Cut, min(1-(1-s.Cut)*cutFactor, most))
	s.SinceCut = 0
	return s
}

func (s State) reported(claim string) bool {
	return slices.ContainsFunc(s.Reporters, func(r Reporter) bool { return r.Claim == claim })
}

// withReporter returns a copy with one more reporter. More than minReporters make no
// difference, so only the newest are kept.
func (s State) withReporter(claim string) State {
	all := append(slices.Clone(s.Reporters), Reporter{Claim: claim})
	s.Reporters = all[max(len(all)-minReporters, 0):]
	return s
}

// reportersAfter returns those that have reported within reportPeriod, after that many
// seconds more.
func (s State) reportersAfter(seconds float64) []Reporter {
	var recent []Reporter
	for _, r := range s.Reporters {
		if r.Seconds = max(r.Seconds, 0) + seconds; r.Seconds < reportPeriod.Seconds() {
			recent = append(recent, r)
		}
	}
	return recent
}

// refillSeconds is how many seconds of full refill the given time is worth. The cut
// shrinks evenly during that time.
func (s State) refillSeconds(seconds float64) float64 {
	cut := min(max(s.Cut, 0), maxCut)
	shrinks := min(seconds, cut/recoveryPerSecond)
	return seconds - cut*shrinks + recoveryPerSecond*shrinks*shrinks/2
}

// Speed is the fraction of the refill that is used now.
func (s State) Speed() float64 { return 1 - s.Cut }
