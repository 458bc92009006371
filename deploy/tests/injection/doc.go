// Package injection holds what the chart's admission policies make of pods against
// a real API server: the same agent as by hand, or a refusal that says why. It has
// tests only.
package injection
