package hostile

import (
	"bytes"
	"flag"
	"strings"
	"testing"
	"time"
)

func TestTableFailsIfAnAttackSucceedsOrHarmsHonestPods(t *testing.T) {
	quiet := measure{pods: 20, bound: 20, p99: 2 * time.Second, sent: 100}
	for name, c := range map[string]struct {
		verdict verdict
		honest  measure
		closing string
		good    bool
	}{
		"unproven":    {unproven, quiet, "hostile: 1 cases, 0 succeeded, 1 unproven, honest pods unaffected", false},
		"harmless":    {defended, measure{20, 20, 3 * time.Second, 100, 0}, "hostile: 1 cases, 0 succeeded, honest pods unaffected", true},
		"successful":  {succeeded, quiet, "hostile: 1 cases, 1 succeeded, honest pods unaffected", false},
		"slower":      {defended, measure{20, 20, 3001 * time.Millisecond, 100, 0}, "honest pods affected in 1", false},
		"not bound":   {defended, measure{20, 19, 3 * time.Second, 100, 0}, "honest pods affected in 1", false},
		"lost packet": {defended, measure{20, 20, 2 * time.Second, 100, 1}, "honest pods affected in 1", false},
	} {
		table := newTable()
		table.addQuiet(quiet, 0)
		table.add(row{name, outcome{c.verdict, "a prize"}}, c.honest, quiet)
		var out bytes.Buffer
		if err := table.print(&out); (err == nil) != c.good || !strings.Contains(out.String(), c.closing) {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

func TestPercentile99(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 1, 20: 20, 99: 99, 100: 99, 199: 198, 200: 198} {
		var values []time.Duration
		for i := range n {
			values = append(values, time.Duration(n-i))
		}
		if got := percentile99(values); got != want {
			t.Errorf("of 1 to %d it is %d, want %d", n, got, want)
		}
	}
}

func TestOnlyNamedCasesAreChosen(t *testing.T) {
	all := []round{{attacks: []attack{{name: "one"}, {name: "two"}}}, {attacks: []attack{{name: "three"}}}}
	for text, want := range map[string]string{"": "one two three ", "o": "one two ", "three": "three ", "four": ""} {
		names := ""
		for _, r := range matching(all, text) {
			for _, a := range r.attacks {
				names += a.name + " "
			}
		}
		if names != want {
			t.Errorf("%q chooses %q, want %q", text, names, want)
		}
	}
}

func TestAnUnknownCaseIsAnError(t *testing.T) {
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	play := Hostile.Configure(flags)
	if err := flags.Parse([]string{"-only", "no such case"}); err != nil {
		t.Fatal(err)
	}
	if err := play(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no such case") {
		t.Errorf("got %v", err)
	}
}

func TestCasesHaveDistinctNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rounds() {
		for _, a := range r.attacks {
			if seen[a.name] || a.name == "" || a.begin == nil {
				t.Errorf("case %q is not distinct or not complete", a.name)
			}
			seen[a.name] = true
		}
	}
}
