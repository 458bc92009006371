package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

func TestEveryPatchFitsTheCode(t *testing.T) {
	patches, err := readPatches(patchFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range patches {
		t.Run(p.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, p.file))
			if err != nil {
				t.Fatalf("patch %s changes a file that is not there any more: write it anew for where that code is now: %v", p.name, err)
			}
			after, err := p.apply(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(p.file, ".go") {
				if _, err := parser.ParseFile(token.NewFileSet(), p.file, after, parser.SkipObjectResolution); err != nil {
					t.Errorf("what becomes of %s is no Go: mend e2e/sim/mutants/patches/%s%s: %v", p.file, p.name, ending, err)
				}
			}
			if !hasTest(t, p.test) {
				t.Errorf("no test of %s matches %s: name the one that notices it in e2e/sim/mutants/patches/%s%s", p.test.pkg, p.test.run, p.name, ending)
			}
		})
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// hasTest tells whether a package has a test that a command runs.
func hasTest(t *testing.T, c command) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, c.pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	which := regexp.MustCompile(c.run)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunction.FindAllStringSubmatch(string(text), -1) {
			if which.MatchString(m[1]) {
				return true
			}
		}
	}
	return false
}

func TestEveryRuleHasAMutant(t *testing.T) {
	patches, err := readPatches(patchFiles)
	if err != nil {
		t.Fatal(err)
	}
	broken := make(map[string]bool)
	for _, p := range patches {
		broken[p.rule] = true
		if !slices.Contains(rules, p.rule) {
			t.Errorf("patch %s is of rule %q, which rules.go does not have", p.name, p.rule)
		}
	}
	for _, rule := range rules {
		if !broken[rule] {
			t.Errorf("no patch breaks %q: write one into e2e/sim/mutants/patches", rule)
		}
	}
}

const head = "rule: S1 generation\nabout: x\nfile: a.go\ntest: ./a ^TestA$ -n=1 -m=2\nexpect: a_test\n\n"

func TestParse(t *testing.T) {
	p, err := parse("a", head+"<<<< old\none\n==== new\ntwo\n\nthree\n>>>>\n\n<<<< old\nfour\n==== new\n>>>>\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (command{"./a", "^TestA$", "-n=1 -m=2"}); p.test != want {
		t.Errorf("the test is %+v, want %+v", p.test, want)
	}
	if want := []edit{{"one\n", "two\n\nthree\n"}, {"four\n", ""}}; !slices.Equal(p.edits, want) {
		t.Errorf("the changes are %q, want %q", p.edits, want)
	}
	after, err := p.apply("zero\none\nfour\nfive\n")
	if want := "zero\ntwo\n\nthree\nfive\n"; err != nil || after != want {
		t.Errorf("it gives %q, %v; want %q", after, err, want)
	}
}

func TestWhatIsNoPatch(t *testing.T) {
	const change = "<<<< old\none\n==== new\ntwo\n>>>>\n"
	for name, text := range map[string]string{
		"nothing":                "",
		"no change":              head,
		"a line that is missing": strings.Replace(head, "expect: a_test\n", "", 1) + change,
		"an empty line":          strings.Replace(head, "expect: a_test\n", "expect:\n", 1) + change,
		"a line twice":           "rule: again\n" + head + change,
		"a line too many":        "wish: more\n" + head + change,
		"a test without pattern": strings.Replace(head, "^TestA$ -n=1 -m=2", "", 1) + change,
		"a pattern that is none": strings.Replace(head, "^TestA$", "(", 1) + change,
		"a wish that is none":    strings.Replace(head, "a_test", "(", 1) + change,
		"no new text":            head + "<<<< old\none\n>>>>\n",
		"no end":                 head + "<<<< old\none\n==== new\ntwo\n",
		"nothing old":            head + "<<<< old\n==== new\ntwo\n>>>>\n",
		"old is new":             head + "<<<< old\none\n==== new\none\n>>>>\n",
		"something after":        head + change + "more\n",
	} {
		if _, err := parse("a", text); err == nil {
			t.Errorf("%s is a patch", name)
		}
	}
}

func TestAPatchFitsOnce(t *testing.T) {
	p, err := parse("a", head+"<<<< old\n\tone\n==== new\n\ttwo\n>>>>\n")
	if err != nil {
		t.Fatal(err)
	}
	for text, fits := range map[string]bool{
		"\tone\n": true, "zero\n\tone\nthree\n": true,
		"": false, "\tone\n\tone\n": false, "\t\tone\n": false, "\tone more\n": false, "one\n": false,
	} {
		_, err := p.apply(text)
		if (err == nil) != fits {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && !strings.Contains(err.Error(), "write e2e/sim/mutants/patches/a.patch anew") {
			t.Errorf("%q: no remedy in %v", text, err)
		}
	}
}
