package daemon

import (
	"context"
	"log/slog"
	"slices"
)

type logKey struct{}

// LogWith gives a context that adds attributes to every line that is logged with it, so
// that a request can be followed through all packages. Only loggers of NewLogger do so.
func LogWith(ctx context.Context, attrs ...slog.Attr) context.Context {
	earlier, _ := ctx.Value(logKey{}).([]slog.Attr)
	return context.WithValue(ctx, logKey{}, slices.Concat(earlier, attrs))
}

// annotated adds the attributes of LogWith to a line. Inside a group of a logger, the
// attributes are in that group, too.
type annotated struct{ slog.Handler }

// Handle implements slog.Handler.
func (h annotated) Handle(ctx context.Context, r slog.Record) error {
	if attrs, ok := ctx.Value(logKey{}).([]slog.Attr); ok {
		r = r.Clone() // the record may be another handler's too
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h annotated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return annotated{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h annotated) WithGroup(name string) slog.Handler { return annotated{h.Handler.WithGroup(name)} }
