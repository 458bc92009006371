package budget

import (
	"testing"
	"time"
)

func retry(claim string, older, creates int) Request {
	r := create(claim, older)
	r.Class = Retry
	r.Demand = Demand{Retries: CreateCost.Times(float64(older + 1)), Creates: CreateCost.Times(float64(creates))}
	return r
}

// TestRetriesLeaveMostOfTheBuckets to claims that come with their first attempt.
func TestRetriesLeaveMostOfTheBuckets(t *testing.T) {
	s, n := full(), 0
	for ; ; n++ {
		next, wait := Take(s, Default(), 0, retry(string(rune('a'+n)), 0, 0))
		if wait > 0 {
			break
		}
		s = next
	}
	if least := Default().capacity().Times(3. / 4); s.Tokens.Mutating < least.Mutating || n < 1 {
		t.Errorf("%d retries left %+v of %+v", n, s.Tokens, Default().capacity())
	}
	take(t, s, 0, create("z", 0))
}

// TestRetriesHaveASmallShare while creates wait all the time, and no more.
func TestRetriesHaveASmallShare(t *testing.T) {
	s, counts := full(), make(map[Class]int)
	const seconds = 600
	for range seconds * 10 {
		s = s.After(Default(), 100*time.Millisecond, retry("", 50, 20).Demand)
		for n, request := range []Request{create("create", 0), retry("retry", 0, 20)} {
			request.Demand = retry("", 50, 20).Demand
			request.Outcome = func(Permit) PermitOutcome { return PermitUsed }
			if next, wait := Take(s, Default(), 0, request); wait == 0 {
				s = next
				counts[[]Class{Create, Retry}[n]]++
			}
		}
	}
	all := seconds * Default().Mutating.PerSecond / CreateCost.Mutating
	if part := float64(counts[Retry]) / all; part < retryShare*0.9 || part > retryShare*1.1 {
		t.Errorf("retries had %.3f of the calls: %v", part, counts)
	}
	if part := float64(counts[Create]) / all; part < 0.85 {
		t.Errorf("creates had %.3f of the calls: %v", part, counts)
	}
}

// TestRetriesGoOldestFirst: a younger one leaves the reserve to those before it.
func TestRetriesGoOldestFirst(t *testing.T) {
	s := State{}
	for range 40 {
		s = s.After(Default(), 100*time.Millisecond, retry("", 3, 20).Demand)
	}
	if _, wait := Take(s, Default(), 0, retry("young", 3, 20)); wait == 0 {
		t.Error("the youngest was granted first")
	}
	// In four seconds the reserve has half a port's calls more than one port needs.
	s.RetryReserve = CreateCost
	s.Tokens = CreateCost.Times(2)
	if _, wait := Take(s, Default(), 0, retry("old", 0, 20)); wait > 0 {
		t.Errorf("the oldest waits %v", wait)
	}
}
