// Package daemon has what both processes need: settings, a JSON logger, an HTTP server
// that stops gracefully, probes, and the agent's metrics.
//
// Nothing here is global, so that several processes can run in one test. The package is
// light, because the agent runs in every pod. For the same reason the agent's metrics are
// VictoriaMetrics/metrics rather than the Prometheus client with its protobuf model.
package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
)

// NewLogger writes one JSON object a line to w, from the given level on: debug, info,
// warn or error. A line that is logged with a context has the attributes of LogWith.
func NewLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%q is not a log level: use debug, info, warn or error", level)
	}
	return slog.New(annotated{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: inSeconds})}), nil
}

// inSeconds writes durations as seconds, and says so in their key. slog writes nanoseconds.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	return slog.Float64(a.Key+"Seconds", a.Value.Duration().Seconds())
}

// Sleep waits for d, or until ctx ends; then it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Version is the module version this binary was built from, followed by the
// commit when the toolchain recorded one and the version does not name it. It is
// "unknown" without build information.
func Version() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := build.Main.Version
	if version == "" {
		version = "(devel)"
	}
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(version, s.Value[:12]) {
			return version + " " + s.Value[:12]
		}
	}
	return version
}
