package hostile

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// table is the result of a run.
type table struct {
	lines [][]any
	// cases counts the cases, by how they ended; harming those that affected honest pods.
	cases   map[verdict]int
	harming int
}

// row is the attacker's part of a line.
type row struct {
	name string
	outcome
}

// String says what the honest pods experienced.
func (m measure) String() string {
	return fmt.Sprintf("%d of %d bound, p99 %.1f s, %d of %d packets lost", m.bound, m.pods, m.p99.Seconds(), m.lost, m.sent)
}

// ratio is how many times longer than in the quiet run m the honest pods took.
func (m measure) ratio(honest measure) float64 {
	return float64(honest.p99) / float64(max(m.p99, time.Millisecond))
}

// unaffected reports whether an attack left honest pods alone.
func (m measure) unaffected(honest measure) bool {
	return honest.bound == honest.pods && honest.lost == 0 && m.ratio(honest) <= mostOfQuiet
}

func newTable() table { return table{cases: make(map[verdict]int)} }

// addQuiet adds a quiet run, and how long AWS lags in it.
func (t *table) addQuiet(quiet measure, lag time.Duration) {
	name := "(quiet run)"
	if lag > 0 {
		name = fmt.Sprintf("(quiet run, calls miss new target groups for %v)", lag)
	}
	t.line(name, "", quiet, quiet)
}

// add adds a case.
func (t *table) add(r row, honest, quiet measure) {
	t.cases[r.verdict]++
	if !quiet.unaffected(honest) {
		t.harming++
	}
	t.line(r.name, shortened(fmt.Sprintf("%s: %s", r.verdict, r.got)), honest, quiet)
}

func (t *table) line(name, prize string, honest, quiet measure) {
	t.lines = append(t.lines, []any{
		name, prize, fmt.Sprintf("%d/%d", honest.bound, honest.pods),
		fmt.Sprintf("%.2f s", honest.p99.Seconds()), fmt.Sprintf("%.2f", quiet.ratio(honest)), fmt.Sprintf("%d of %d", honest.lost, honest.sent),
	})
}

// shortened keeps a line of the table readable; the progress has said the whole.
func shortened(text string) string {
	const most = 100
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// print prints the table and the closing line. It returns an error if an attack
// succeeded or honest pods were affected.
func (t *table) print(out io.Writer) error {
	lines := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(lines, "attack\twhat the attacker got\thonest pods bound\tp99 to bound\tof quiet\tpackets lost")
	for _, line := range t.lines {
		fmt.Fprintf(lines, "%s\t%s\t%s\t%s\t%s\t%s\n", line...)
	}
	if err := lines.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	cases := t.cases[defended] + t.cases[succeeded] + t.cases[unproven]
	result := fmt.Sprintf("hostile: %d cases, %d succeeded, ", cases, t.cases[succeeded])
	if n := t.cases[unproven]; n > 0 {
		result += fmt.Sprintf("%d unproven, ", n)
	}
	honest := "honest pods unaffected"
	if t.harming > 0 {
		honest = fmt.Sprintf("honest pods affected in %d", t.harming)
	}
	fmt.Fprintln(out, result+honest)
	if t.cases[defended] < cases || t.harming > 0 {
		return errors.New("each attack should be shown to fail, and honest pods should be bound within 1.5 times the quiet run's time and lose no packet")
	}
	return nil
}
