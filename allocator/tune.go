package main

import "runtime/debug"

// gcPercent spares the processor: what is live is some kilobytes a claim, what each
// renewal leaves behind is not much less, and the collector would run every few
// seconds to find most of it alive.
const gcPercent = 400

// tune sets what the environment does not.
func tune(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
