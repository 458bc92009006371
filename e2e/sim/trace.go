package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	stdhash "hash"
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
	// lines are the last ones; all of them unless most is more than 0.
	lines []string
	most  int
	added int
	// digest is of all lines; nil if most is 0. hear is called with each; nil for nobody.
	digest stdhash.Hash
	hear   func(string)

	mu  sync.Mutex // guards all below
	own []note     // what processes logged since the last collect
	// notes counts by thread, so that sorting keeps each thread's order.
	notes counter
}

type note struct {
	thread string
	seq    int
	text   string
}

func newTrace(most int, hear func(string)) *trace {
	return &trace{start: time.Now(), most: most, digest: sha256.New(), hear: hear}
}

func (t *trace) add(format string, args ...any) {
	line := fmt.Sprintf("%9.3f  ", time.Since(t.start).Seconds()) + fmt.Sprintf(format, args...)
	t.lines = append(t.lines, line)
	t.added++
	if t.hear != nil {
		t.hear(line)
	}
	if t.most == 0 {
		return
	}
	t.digest.Write([]byte(line + "\n"))
	if len(t.lines) >= 2*t.most {
		t.lines = slices.Delete(t.lines, 0, t.most)
	}
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
	// Either of the two timers of an http.Client may fire first.
	line := strings.ReplaceAll(text.String(), " (Client.Timeout exceeded while awaiting headers)", "")
	h.trace.own = append(h.trace.own, note{thread, h.trace.notes.next(thread), strings.ReplaceAll(line, "\n", "; ")})
	return nil
}

// WithAttrs implements slog.Handler. The trace names the process already.
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(string) slog.Handler { return h }
