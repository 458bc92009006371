package pacer

import "time"

const (
	// maxGrants is how often a claim may be granted calls at once, and grantEvery how often
	// after that, before it counts as one whose attempts fail. Agents back off to 15 s.
	maxGrants  = 6
	grantEvery = 10 * time.Second
)

// frequent counts the grants to claims, so that one that asks all the time, whatever it
// reports, gets behind the others. Each replica counts for itself, and forgets.
type frequent map[string]grants // by claim

type grants struct {
	// count falls by one every grantEvery.
	count float64
	at    time.Time
}

func (g grants) left(now time.Time) float64 {
	return g.count - now.Sub(g.at).Seconds()/grantEvery.Seconds()
}

// granted counts a grant, and forgets claims with none left.
func (f frequent) granted(claim string, now time.Time) {
	f[claim] = grants{max(f[claim].left(now), 0) + 1, now}
	for name, g := range f {
		if g.left(now) <= 0 {
			delete(f, name)
		}
	}
}

// asksTooOften reports whether a claim was granted calls too often lately.
func (f frequent) asksTooOften(claim string, now time.Time) bool {
	return f[claim].left(now) > maxGrants-1
}

// tooOften gives the claims that were granted calls too often lately.
func (f frequent) tooOften(now time.Time) map[string]bool {
	claims := make(map[string]bool)
	for claim := range f {
		if f.asksTooOften(claim, now) {
			claims[claim] = true
		}
	}
	return claims
}
