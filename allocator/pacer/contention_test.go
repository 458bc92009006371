package pacer_test

import (
	"sync"
	"testing"
	"time"
)

// Two replicas see the tokens for one deletion at the same moment. Only one of their
// writes succeeds.
func TestTwoReplicasNeverTakeTheSameTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		replicas := []*replica{i.replica(), i.replica()}
		i.fill(replicas[0])
		for n := range replicas {
			for more := true; more; { // the second sees that nothing is left
				now, err := replicas[n].delete(t.Context(), "lb-0")
				if err != nil {
					t.Fatal(err)
				}
				more = now
			}
		}
		time.Sleep(350 * time.Millisecond) // in the bubble
		i.budgets.flight = 20 * time.Millisecond
		taken := make([]bool, len(replicas))
		var all sync.WaitGroup
		for n, r := range replicas {
			all.Go(func() {
				now, err := r.delete(t.Context(), "lb-1")
				if err != nil {
					t.Error(err)
				}
				taken[n] = now
			})
		}
		all.Wait()
		if taken[0] == taken[1] {
			t.Errorf("taken: %v, want one of them", taken)
		}
		if i.count("write conflict") == 0 {
			t.Error("they did not write at the same time")
		}
	})
}
