package main

import (
	"runtime"
	"runtime/debug"
)

// Every pod pays for an agent, which does nothing most of the time. One thread runs
// it fast enough, and the collector works for little memory rather than little time.
// Agones' users had to ask for the like
// (https://github.com/googleforgames/agones/issues/4568).
const (
	// memoryLimit is far above what a claim takes: it only makes the collector work
	// harder before the container's own limit ends the process.
	memoryLimit = 24 << 20
	gcPercent   = 50
)

// tune sets what the environment does not.
func tune(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
