package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestGoUsesNineTenthsOfTheContainersMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const container = 256 << 20
	none := func(string) string { return "" }
	for _, test := range []struct {
		getenv func(string) string
		limit  int
		want   int64
	}{
		{none, container, container / 10 * 9},
		{none, 0, math.MaxInt64},
		{func(string) string { return "100MiB" }, container, 1 << 30}, // Go has read it already
	} {
		debug.SetMemoryLimit(1 << 30)
		tune(test.getenv, test.limit)
		if got := debug.SetMemoryLimit(-1); got != test.want {
			t.Errorf("of %d bytes Go uses %d, want %d", test.limit, got, test.want)
		}
	}
}
