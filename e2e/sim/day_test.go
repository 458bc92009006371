package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/invariants"
)

var (
	wholeDay = flag.Bool("day", false, "simulate a whole day of 5,000 pods with -seed instead of two hours of 60")
	dayPods  = flag.Int("pods", 5000, "how many pods a whole day has")
	dayUntil = flag.Duration("until", 0, "end a day after this time, without its final checks")
	dayWords = flag.String("lines", "", "print the lines of a day's history that contain this")
)

// fullDay is a day of many pods with the default settings, but for those that it prints.
func fullDay(seed uint64) Config {
	timing := DefaultTiming
	timing.RenewEvery, timing.ClaimDuration = 2*time.Minute, 8*time.Minute
	timing.SweepEvery, timing.AuditEvery = 10*time.Second, 2*time.Minute
	return Config{
		Seed: seed, Lines: 2000, Scale: &Scale{LoadBalancers: 9, Ports: 800, Addresses: 6500, Timing: timing},
		Day: &Day{
			Pods: *dayPods, Length: 24 * time.Hour, Start: 3 * time.Minute, Every: 3300 * time.Millisecond, Kill: time.Hour,
			Slow: Span{8 * time.Hour, time.Hour}, Refused: Span{14*time.Hour + 20*time.Minute, 10 * time.Minute},
			Rest: 45 * time.Minute, Check: time.Minute,
		},
	}
}

// shortDay has the same disturbances within two hours of a small fleet.
func shortDay(seed uint64) Config {
	return Config{
		Seed: seed, Lines: 2000, Scale: &Scale{LoadBalancers: 2, Ports: 60, Addresses: 100, Timing: DefaultTiming},
		Day: &Day{
			Pods: 60, Length: 2 * time.Hour, Start: time.Minute, Every: 15 * time.Second, Kill: 25 * time.Minute,
			Slow: Span{30 * time.Minute, 5 * time.Minute}, Refused: Span{60 * time.Minute, 3 * time.Minute},
			Rest: 20 * time.Minute, Check: time.Minute,
		},
	}
}

func TestDay(t *testing.T) {
	c := shortDay(max(*seed, 1))
	if *wholeDay {
		c = fullDay(max(*seed, 1))
	}
	c.Day.Until = *dayUntil
	fmt.Printf("day: %d pods; settings that are not the defaults: %s\n", c.Day.Pods, changedSettings(c.Scale.Timing))
	defer reportProgress(&c)()
	if *dayWords != "" {
		c.Hear = func(line string) {
			if strings.Contains(line, *dayWords) {
				fmt.Println(line)
			}
		}
	}
	r, err := simulate(t, c)
	fmt.Printf("day: seed %d, %d steps, digest of the history %s\n%s\ncalls:\n%s\nevents:\n%s\nreached:\n%s\n", r.Seed, r.Steps, r.Digest, r.Day, showCounts(r.Faults), showCounts(r.Events), showCounts(r.Reached))
	if err != nil {
		t.Errorf("seed %d: %.3000s\nReplay it with: make sim DAY=1 SEED=%d\nThe last lines:\n%s", r.Seed, err, r.Seed, strings.Join(r.History[max(0, len(r.History)-shown):], "\n"))
	}
	fmt.Printf("day: %d pods, %v, %s, %d violations\n", c.Day.Pods, r.Took.Round(time.Second), r.Totals(), violations(err))
}

// changedSettings names the settings that differ from the defaults.
func changedSettings(t Timing) string {
	var changed []string
	for i, field := range reflect.VisibleFields(reflect.TypeFor[Timing]()) {
		if now, usual := reflect.ValueOf(t).Field(i), reflect.ValueOf(DefaultTiming).Field(i); !now.Equal(usual) {
			changed = append(changed, fmt.Sprintf("%s %v instead of %v", field.Name, now, usual))
		}
	}
	return cmp.Or(strings.Join(changed, ", "), "none")
}

// violations is how many there are in an error, which has a line for each.
func violations(err error) int {
	if err == nil {
		return 0
	}
	return 1 + strings.Count(err.Error(), "\n")
}

// reportProgress reports the progress of a day every half minute of real time, until it is
// stopped.
func reportProgress(c *Config) (stop func()) {
	var newest atomic.Pointer[Progress]
	c.Day.Tell = func(p Progress) { newest.Store(&p) }
	ended, began := make(chan struct{}), time.Now()
	go func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		var told Progress
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			if p := newest.Load(); p != nil {
				fmt.Fprintf(os.Stderr, "day: %v of %v simulated in %v, %d bound, %d waiting, %.0f steps/s\n", p.At.Round(time.Second), c.Day.Length,
					time.Since(began).Round(time.Second), p.Bound, p.Waiting, float64(p.Steps-told.Steps)/progressEvery.Seconds())
				told = *p
			}
		}
	}()
	return func() { close(ended) }
}

// TestDayFindsABrokenPart breaks a part of a large installation.
func TestDayFindsABrokenPart(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if m.name != "the janitor does not check the pod" && m.name != "the janitor does not delete target groups" && m.name != "a listener is created without the recorded target group" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			c := shortDay(1)
			c.Break, c.BreakAgent = m.deps, m.agentCalls
			_, err := simulate(t, c)
			if g := invariants.Guarantee(err); g == "" || !strings.Contains(strings.Join(m.breaks, " "), g) {
				t.Errorf("it ended with %v; want a violation of %v", err, m.breaks)
			}
		})
	}
}
