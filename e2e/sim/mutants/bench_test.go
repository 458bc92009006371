package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bug is a patch of testdata/sums.
func bug(file, run, expect string, changes ...string) patch {
	p := patch{name: "bug", file: file, test: command{"./add", run, ""}, expect: regexp.MustCompile(expect)}
	for i := 0; i < len(changes); i += 2 {
		p.edits = append(p.edits, edit{changes[i] + "\n", changes[i+1] + "\n"})
	}
	return p
}

func TestOnlyAFailureInTheRightWordsIsCaught(t *testing.T) {
	const code, sum = "add/add.go", "\treturn a + b"
	sums, err := filepath.Abs("testdata/sums")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(sums, code))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(sums, t.TempDir())
	for _, test := range []struct {
		name   string
		patch  patch
		within time.Duration // 0: longer than it takes
		caught bool
		by     string
		says   string
	}{
		{"noticed", bug(code, "^TestAdd$", `1 \+ 2`, sum, "\treturn a - b"), 0, true, "add TestAdd", "1 + 2 = -1"},
		{"not noticed", bug(code, "^TestAdd$", `1 \+ 2`, sum, "\treturn b + a"), 0, false, "", "NOT CAUGHT by ./add ^TestAdd$: it passes"},
		{"a passing test says what is expected", bug(code, "^TestAdd$", "one and two", sum, "\treturn b + a"), 0, false, "", "it passes"},
		{"noticed in other words", bug(code, "^TestAdd$", "out of range", sum, "\treturn a - b"), 0, false, "", "1 + 2 = -1"},
		{"a name is no word", bug(code, "^TestAdd$", "TestAdd", sum, "\treturn a - b"), 0, false, "", "1 + 2 = -1"},
		{"a panic in other words", bug(code, "^TestAdd$", "1 [+] 2", sum, "\tpanic(a + b)"), 0, false, "", "panic: "},
		{"hangs", bug(code, "^TestAdd$", ".", sum, "\ttime.Sleep(longest)\n\treturn a + b"), 2 * time.Second, false, "", "did not end in time"},
		{"does not compile", bug(code, "^TestAdd$", ".", sum, "\treturn a + c"), 0, false, "", "BROKEN: building the tests"},
		{"is stale", bug(code, "^TestAdd$", ".", "\treturn a * b", sum), 0, false, "", "BROKEN: patch bug is stale"},
		{"a file that tests read", bug("add/three.txt", "^TestThree$", "three is", "3", "4"), 0, true, "add TestThree", `three is "4`},
		{"a seed", bug(code, "^TestSeeds$", `seed \d+: S2: `, sum, "\treturn a * b"), 0, true, "add TestSeeds seed 0", "S2: 0"},
		{"a test that fails anyway", bug(code, "^TestAlwaysBroken$", "always", sum, "\treturn a - b"), 0, false, "", "does not pass without it"},
		{"no test", bug(code, "^TestNothing$", ".", sum, "\treturn a - b"), 0, false, "", "runs no test"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.longest = longest
			if test.within > 0 {
				b.longest = test.within
			}
			r := b.try(t.Context(), test.patch)
			if r.caught() != test.caught || !strings.Contains(r.String(), test.says) {
				t.Errorf("caught: %v, %s", r.caught(), r)
			}
			if test.caught && r.by() != test.by {
				t.Errorf("caught by %s, want %s", r.by(), test.by)
			}
		})
	}
	after, err := os.ReadFile(filepath.Join(sums, code))
	if err != nil || string(after) != string(before) {
		t.Errorf("the tree was changed: %v", err)
	}
}

func TestTheReportFailsUnlessAllAreCaught(t *testing.T) {
	caught := result{patch: bug("a", "b", "c"), outcome: outcome{words: "a_test.go:1: a | b", failed: []string{"TestA"}}}
	missed := result{patch: bug("a", "b", "c"), outcome: outcome{passed: true}}
	var out strings.Builder
	if err := report(&out, []result{caught, caught}); err != nil || !strings.HasSuffix(out.String(), "\nmutants: 2 of 2 caught\n") {
		t.Errorf("%v: %s", err, &out)
	}
	if !strings.Contains(out.String(), "| add TestA | a ¦ b |\n") {
		t.Errorf("no row in %s", &out)
	}
	out.Reset()
	if err := report(&out, []result{caught, missed}); err == nil || !strings.HasSuffix(out.String(), "\nmutants: 1 of 2 caught\n") {
		t.Errorf("%v: %s", err, &out)
	}
}
