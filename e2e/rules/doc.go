// Package rules holds the rules that no compiler checks: who may import whom,
// which words name nothing here, and that the examples agree with themselves. It
// has tests only, and each says why its rule is there.
package rules
