package lifecycle

import (
	"log/slog"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/reporter"
)

// env is what every phase needs.
type env struct {
	clock    clock.Clock
	jitter   func() float64
	reporter *reporter.Reporter
	failures failure.Log
	log      *slog.Logger
}
