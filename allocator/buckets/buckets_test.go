package buckets_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/buckets"
)

func TestCallersHaveBucketsOfTheirOwnUntilTheyAreEvicted(t *testing.T) {
	size := 2
	table, now := buckets.New[string](1, 2, func() int { return size }), time.Now()
	take := func(caller string) bool { return table.Of(caller).AllowN(now, 1) }
	for n, want := range []bool{true, true, false} {
		if take("a") != want {
			t.Errorf("call %d of a caller whose bucket holds two: want %v", n, want)
		}
	}
	if !take("b") {
		t.Error("a caller has spent the tokens of another")
	}
	take("c")
	if !take("a") {
		t.Error("the caller that was seen the longest ago was not evicted")
	}
	size = 3
	take("b")
	if take("a"); take("a") {
		t.Error("the table has not grown: a caller was evicted")
	}
}
