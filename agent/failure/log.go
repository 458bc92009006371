package failure

import (
	"context"
	"log/slog"

	"github.com/VictoriaMetrics/metrics"
)

// Log counts and logs failures, each once, where its handling ends.
type Log struct {
	Metrics *metrics.Set
	Logger  *slog.Logger
}

// Failed logs an error if only an admin can resolve it, and otherwise a warning.
// message is constant.
func (l Log) Failed(ctx context.Context, message string, err error, fields ...any) {
	l.Metrics.GetOrCreateCounter(`portlease_agent_errors_total{class="` + Class(err) + `"}`).Inc()
	level := slog.LevelWarn
	if NeedsAdmin(err) {
		level = slog.LevelError
	}
	l.Logger.Log(ctx, level, message, append(fields, "err", err)...) //nolint:sloglint // message is a constant of each caller
}
