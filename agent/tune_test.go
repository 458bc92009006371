package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestNothingIsCollectedDuringTheStart(t *testing.T) {
	processors, limit, percent := runtime.GOMAXPROCS(0), debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	defer func() {
		runtime.GOMAXPROCS(processors)
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}()
	synctest.Test(t, func(t *testing.T) {
		tune(func(string) string { return "" })
		if got := debug.SetGCPercent(-1); got != -1 {
			t.Errorf("the collector starts with %d %%", got)
		}
		if got := debug.SetMemoryLimit(-1); got != memoryLimit {
			t.Errorf("the memory limit is %d", got)
		}
		time.Sleep(uncollected)
		synctest.Wait()
		if got := debug.SetGCPercent(-1); got != gcPercent {
			t.Errorf("after the start the collector works with %d %%", got)
		}
	})
	tune(func(name string) string { return map[string]string{"GOGC": "80"}[name] })
	if got := debug.SetGCPercent(-1); got != -1 { // as it was left above
		t.Errorf("with GOGC set the collector works with %d %%", got)
	}
}
