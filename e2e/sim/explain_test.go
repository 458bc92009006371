package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shown is how many of the last lines are printed with a violation.
const shown = 60

// explain describes a violation by the smallest run that has it: the events, the last
// lines, and how to replay that run.
func explain(t *testing.T, c Config, r Report, err error) string {
	t.Helper()
	text := fmt.Sprintf("seed %d: %v\nReplay it with: %s\n", r.Seed, err, replay(c))
	if *shrink > 0 {
		began := time.Now()
		small, smallest, tries, broken := Shrink(c, func(c Config) (Report, error) { return simulate(t, c) }, func() bool { return time.Since(began) < *shrink })
		text += fmt.Sprintf("\nThe smallest of %d runs has %d events: %v\nReplay it with: %s\n", tries, len(small.Keep), broken, replay(small))
		r = smallest
	}
	return text + fmt.Sprintf("\nWhat happened:\n%s\n\nThe last lines of %d:\n%s", strings.Join(outline(r.History), "\n"), len(r.History), strings.Join(r.History[max(0, len(r.History)-shown):], "\n"))
}

// outline is a history without calls and logs.
func outline(history []string) (lines []string) {
	for _, line := range history {
		if _, text, _ := strings.Cut(strings.TrimSpace(line), "  "); strings.HasPrefix(text, "== ") || strings.HasPrefix(text, "-- ") || strings.HasPrefix(text, "!! ") {
			lines = append(lines, line)
		}
	}
	return lines
}

func words(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(word string) bool { return word == "" })
}

func numbers(text string) (all []int, err error) {
	for _, word := range words(text) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("reading which events to keep: %w", err)
		}
		all = append(all, n)
	}
	return all, nil
}

// replay is the command that repeats a run.
func replay(c Config) string {
	words := []string{fmt.Sprintf("make sim SEED=%d", c.Seed)}
	if c.Keep != nil {
		words = append(words, "KEEP="+strings.Trim(strings.Join(strings.Fields(fmt.Sprint(c.Keep)), ","), "[]"))
	}
	if len(c.Without) > 0 {
		words = append(words, fmt.Sprintf("WITHOUT='%s'", strings.Join(c.Without, ",")))
	}
	if c.Losses && c.Seed%8 != 0 {
		words = append(words, "LOSSES=1")
	}
	if c.Damage {
		words = append(words, "DAMAGE=1")
	}
	if c.HardMoves {
		words = append(words, "HARD_MOVES=1")
	}
	return strings.Join(words, " ")
}
