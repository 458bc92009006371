package daemon

import (
	"context"
	"log/slog"
	"slices"
)

type logKey struct{}

// LogWith gives a context that adds attributes to every line which is logged
// with it, by whatever part of the process: so that one request can be followed
// through all that was done for it. Only a logger of NewLogger does that.
func LogWith(ctx context.Context, attrs ...slog.Attr) context.Context {
	earlier, _ := ctx.Value(logKey{}).([]slog.Attr)
	return context.WithValue(ctx, logKey{}, slices.Concat(earlier, attrs))
}

// annotated adds what LogWith put into the context of a line. Inside a group of
// a logger, the attributes are in that group too.
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
