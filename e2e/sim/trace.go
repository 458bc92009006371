package sim

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// trace is the history of one run as text. Two runs of a seed have the same history,
// byte for byte.
type trace struct {
	start time.Time
	lines []string

	mu  sync.Mutex // guards all below
	own []note     // what processes logged since the last collect
	// notes counts by thread, so that sorting keeps each thread's order.
	notes map[string]int
}

type note struct {
	thread string
	seq    int
	text   string
}

func newTrace() *trace { return &trace{start: time.Now(), notes: make(map[string]int)} }

func (t *trace) add(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf("%9.3f  ", time.Since(t.start).Seconds())+fmt.Sprintf(format, args...))
}

// collect adds what processes logged meanwhile. They run concurrently, so it sorts
// their lines.
func (t *trace) collect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.own, func(a, b note) int {
		return cmp.Or(cmp.Compare(a.thread, b.thread), cmp.Compare(a.seq, b.seq))
	})
	for _, n := range t.own {
		t.add("%-22s . %s", n.thread, n.text)
	}
	t.own = nil
}

func (t *trace) call(c *call, fault string, o outcome) {
	result := ""
	if o.err != nil {
		result = "-> " + o.err.Error()
	} else if s, ok := o.value.(fmt.Stringer); ok {
		result = "-> " + s.String()
	}
	if fault != "" {
		fault = " [" + fault + "]"
	}
	t.add("%-22s > %s%s %s", c.process.name+threadSuffix(c.thread), c.what, fault, result)
}

func threadSuffix(thread string) string {
	if thread == "" {
		return ""
	}
	return " " + thread
}

// logTo makes a logger that writes to the trace until the process has ended.
func (t *trace) logTo(p *Process) *slog.Logger { return slog.New(logHandler{t, p, nil}) }

type logHandler struct {
	trace   *trace
	process *Process
	attrs   []slog.Attr
}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo && h.process.alive()
}

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	var text strings.Builder
	text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "requestID" { // random
			fmt.Fprintf(&text, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	thread := h.process.name + threadSuffix(threadOf(ctx))
	h.trace.mu.Lock()
	defer h.trace.mu.Unlock()
	h.trace.notes[thread]++
	// Either of the two timers of an http.Client may fire first.
	line := strings.ReplaceAll(text.String(), " (Client.Timeout exceeded while awaiting headers)", "")
	h.trace.own = append(h.trace.own, note{thread, h.trace.notes[thread], strings.ReplaceAll(line, "\n", "; ")})
	return nil
}

// WithAttrs implements slog.Handler. The trace names the process already.
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(string) slog.Handler { return h }
