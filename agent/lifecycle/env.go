package lifecycle

import (
	"context"
	"log/slog"

	"github.com/portlease/portlease/agent/backoff"
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

// retry attempts something until it is done or ctx is over, and returns its last
// error. It reports failures and backs off between attempts.
func (e env) retry(ctx context.Context, message string, attempt func() (done bool, err error)) error {
	failures := e.reporter.NewFailures()
	var wait backoff.Backoff
	for {
		done, err := attempt()
		switch {
		case done:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		failures.Report(ctx, message, err)
		if err := e.clock.Sleep(ctx, wait.Next(err, e.jitter)); err != nil {
			return err
		}
	}
}
