package main

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Every pod pays for an agent, which is idle most of the time. One thread is fast
// enough for it, and the garbage collector saves memory rather than time. Agones'
// users had to ask for this (https://github.com/googleforgames/agones/issues/4568).
const (
	// memoryLimit is far above what a claim needs. Near it the collector works harder,
	// before the kernel kills the container at its own limit.
	memoryLimit = 24 << 20
	gcPercent   = 50
	// uncollected is how long nothing is collected after the start. The game waits for the
	// agent then, and collecting would take a tenth of the agent's processor time. What a start
	// allocates is well below memoryLimit.
	uncollected = time.Second
)

// tune sets what the environment does not set.
func tune(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(-1)
		time.AfterFunc(uncollected, func() { debug.SetGCPercent(gcPercent) })
	}
}
