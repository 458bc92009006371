package backoff_test

import (
	"errors"
	"testing"
	"time"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestWaitDoublesUpToALimit(t *testing.T) {
	var b backoff.Backoff
	for _, seconds := range []time.Duration{1, 2, 4, 8, 15, 15} {
		if got := b.Next(errors.New("transient"), func() float64 { return 0 }); got != seconds*time.Second {
			t.Errorf("waits %v, want %v", got, seconds*time.Second)
		}
	}
}

// All pods of a node ask one service for their credentials.
func TestWaitForCredentialsIsSpreadWidely(t *testing.T) {
	var least, most backoff.Backoff
	for _, seconds := range []float64{1, 2, 4, 8, 16, 32, 60, 60} {
		for b, want := range map[*backoff.Backoff]float64{&least: seconds / 2, &most: seconds * 1.5} {
			got := b.Next(elb.ErrCredentials, func() float64 { return map[bool]float64{b == &most: 1}[true] })
			if got.Seconds() != want {
				t.Errorf("waits %v, want %vs", got, want)
			}
		}
	}
}

func TestWaitFollowsTheAnswer(t *testing.T) {
	for _, c := range []struct {
		err   error
		least time.Duration
		most  time.Duration // with all of the jitter
	}{
		{errors.New("transient"), time.Second, 1250 * time.Millisecond},
		{api.Errorf(api.Invalid, "no such pool"), time.Minute, 75 * time.Second},
		{api.Errorf(api.Unavailable, "later").WithRetryAfter(20 * time.Second), 20 * time.Second, 25 * time.Second},
		{api.Errorf(api.Exhausted, "in order").WithRetryAfter(20 * time.Second), 20 * time.Second, 22 * time.Second},
		{api.Errorf(api.Exhausted, "in order").WithRetryAfter(time.Hour), 5 * time.Minute, 5*time.Minute + 30*time.Second},
		{api.Errorf(api.Unavailable, "later").WithRetryAfter(time.Hour), 5 * time.Minute, 5*time.Minute + 75*time.Second},
	} {
		for jitter, want := range map[float64]time.Duration{0: c.least, 1: c.most} {
			if got := new(backoff.Backoff).Next(c.err, func() float64 { return jitter }); got != want {
				t.Errorf("after %v with jitter %v it waits %v, want %v", c.err, jitter, got, want)
			}
		}
	}
}

func TestRequestedWaitIsBounded(t *testing.T) {
	for seconds, want := range map[float64]time.Duration{-1: 0, 0: 0, 1.5: 1500 * time.Millisecond, 1e9: 5 * time.Minute} {
		if got := backoff.RetryAfter(seconds); got != want {
			t.Errorf("%v seconds are %v, want %v", seconds, got, want)
		}
	}
}
