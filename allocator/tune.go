package main

import "runtime/debug"

// gcPercent saves CPU: a claim has some kilobytes of live memory and each renewal leaves
// almost as much garbage, so by default the collector would run every few seconds.
const gcPercent = 400

// tune sets the garbage collector, unless the environment does.
func tune(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
