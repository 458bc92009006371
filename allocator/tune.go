package main

import (
	"math"
	"runtime/debug"
)

// tune sets Go's memory limit, unless the environment does. memoryLimit is the container's, in
// bytes; 0 means none. Go's limit is below it: the kernel counts stacks, buffers of sockets and
// the program, and kills what exceeds the container's.
func tune(getenv func(string) string, memoryLimit int) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(goLimit(memoryLimit))
	}
}

// goLimit gives how much of a container's memory Go may use.
func goLimit(container int) int64 {
	if container == 0 {
		return math.MaxInt64
	}
	return int64(container) / 10 * 9
}
