package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// outcome is what became of one run of tests.
type outcome struct {
	expect *regexp.Regexp
	// ran is how many tests began, failed which ended badly.
	ran    int
	failed []string
	// words is the first line that is as expected, seed the simulation's if it has one.
	words, seed string
	// other is the last line that says anything else.
	other  string
	passed bool
	late   bool // it took too long
}

var (
	failedTest = regexp.MustCompile(`^--- FAIL: (\S+)`)
	// said is what a test says when it fails, with the file and line it says it at.
	said = regexp.MustCompile(`^\w+_test\.go:\d+: `)
	// violation is how the simulation says which seed broke what.
	violation = regexp.MustCompile(`^\w+_test\.go:\d+: seed (\d+): `)
)

// guarantee is what the simulation calls a violation by: "S2: …".
var guarantee = regexp.MustCompile(`\b([SL][1-6]|bound): `)

// hear takes note of one line without the space around it.
func (o *outcome) hear(line string) {
	switch m := failedTest.FindStringSubmatch(line); {
	case strings.HasPrefix(line, "=== RUN "):
		o.ran++
	case m != nil:
		o.failed = append(o.failed, m[1])
	case strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "=== "):
	case o.words == "" && o.expect != nil && o.expect.MatchString(line):
		o.words = line
		if m := violation.FindStringSubmatch(line); m != nil {
			o.seed = m[1]
		}
	case said.MatchString(line) || strings.HasPrefix(line, "panic: "):
		o.other = line
	}
}

// String says how a run failed.
func (o outcome) String() string {
	switch {
	case o.late:
		return "it did not end in time"
	case o.passed:
		return "it passes"
	case o.other != "":
		return o.other
	}
	return "it fails without a word"
}

// result is what became of one mutant.
type result struct {
	patch
	outcome outcome
	// broken is why it could not be tried.
	broken error
}

// caught tells whether the right test noticed the bug in the right words.
func (r result) caught() bool {
	o := r.outcome
	return r.broken == nil && !o.passed && !o.late && o.words != "" && (o.seed != "" || len(o.failed) > 0)
}

// by is the test that noticed, with the seed if it is of the simulation.
func (r result) by() string {
	pkg := strings.TrimPrefix(r.test.pkg, "./")
	switch {
	case r.outcome.seed != "":
		return pkg + " " + strings.Trim(r.test.run, "^$") + " seed " + r.outcome.seed
	case len(r.outcome.failed) == 0:
		return pkg
	}
	return pkg + " " + r.outcome.failed[0]
}

// String is the line that tells how it went.
func (r result) String() string {
	switch {
	case r.broken != nil:
		return fmt.Sprintf("BROKEN: %v", r.broken)
	case r.caught():
		return fmt.Sprintf("caught by %s: %s", r.by(), short(r.outcome.words))
	case r.outcome.passed || r.outcome.late:
		return fmt.Sprintf("NOT CAUGHT by %s: %s", r.test, r.outcome)
	}
	return fmt.Sprintf("NOT CAUGHT as expected by %s, which should say %q: %s", r.test, r.expect, r.outcome)
}

// shown is how many characters of a line are shown at most.
const shown = 160

func short(line string) string {
	line = said.ReplaceAllString(line, "")
	if at := guarantee.FindStringIndex(line); at != nil {
		line = line[at[0]:]
	}
	if letters := []rune(line); len(letters) > shown {
		return string(letters[:shown]) + "…"
	}
	return line
}

// report prints the table and fails unless all were caught.
func report(out io.Writer, results []result) error {
	fmt.Fprintf(out, "\n| mutant | rule | caught by | which said |\n|---|---|---|---|\n")
	caught := 0
	for _, r := range results {
		by, words := "nothing", r.String()
		if r.caught() {
			caught++
			by, words = r.by(), short(r.outcome.words)
		}
		fmt.Fprintf(out, "| %s: %s | %s | %s | %s |\n", r.name, r.about, r.rule, by, oneCell(words))
	}
	fmt.Fprintf(out, "\nmutants: %d of %d caught\n", caught, len(results))
	if caught < len(results) {
		return fmt.Errorf("%d mutants were not caught: mend their tests, or their patches if the code was changed", len(results)-caught)
	}
	return nil
}

// oneCell makes words fit for a table.
func oneCell(words string) string {
	return strings.NewReplacer("|", "¦", "\n", " ").Replace(words)
}
