package main

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
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
			git := exec.CommandContext(t.Context(), "git", "apply", "--check", filepath.Join("e2e/sim/mutants/patches", p.name+ending))
			git.Dir = root
			if out, err := git.CombinedOutput(); err != nil {
				t.Errorf("git apply does not take it: %v: %s", err, out)
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

const (
	head   = "rule: S1 generation\nabout: x\ntest: ./a ^TestA$ -n=1 -m=2\nexpect: a_test\n\n"
	file   = "--- a/a.go\n+++ b/a.go\n"
	change = "@@ -2 +2 @@\n-one\n+two\n"
)

func TestParseReadsHeaderAndHunks(t *testing.T) {
	p, err := parse("a", head+file+"@@ -2,3 +2,4 @@ func a() {\n zero\n-one\n+two\n+\n\n@@ -7 +8,0 @@\n-four\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (command{"./a", "^TestA$", "-n=1 -m=2"}); p.test != want || p.file != "a.go" {
		t.Errorf("the test is %+v of %s, want %+v of a.go", p.test, p.file, want)
	}
	if want := []edit{{"zero\none\n\n", "zero\ntwo\n\n\n"}, {"four\n", ""}}; !slices.Equal(p.edits, want) {
		t.Errorf("the changes are %q, want %q", p.edits, want)
	}
	after, err := p.apply("zero\none\n\nfour\nfive\n")
	if want := "zero\ntwo\n\n\nfive\n"; err != nil || after != want {
		t.Errorf("it gives %q, %v; want %q", after, err, want)
	}
}

func TestParseRefusesWhatIsNoPatch(t *testing.T) {
	if _, err := parse("a", head+file+change); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                "",
		"no diff":                head,
		"no hunk":                head + file,
		"a line that is missing": strings.Replace(head, "expect: a_test\n", "", 1) + file + change,
		"a line twice":           strings.Replace(head, "rule: S1 generation\n", "rule: a\nrule: b\n", 1) + file + change,
		"a line too many":        strings.Replace(head, "rule:", "more: x\nrule:", 1) + file + change,
		"no test to run":         strings.Replace(head, " ^TestA$ -n=1 -m=2", "", 1) + file + change,
		"a pattern that is none": strings.Replace(head, "^TestA$", "(", 1) + file + change,
		"a wish that is none":    strings.Replace(head, "a_test", "(", 1) + file + change,
		"no names of files":      head + change,
		"two files":              head + "--- a/a.go\n+++ b/b.go\n" + change,
		"a second file":          head + file + change + "--- a/b.go\n+++ b/b.go\n" + change,
		"a new file":             head + "--- /dev/null\n+++ b/a.go\n@@ -0,0 +1 @@\n+one\n",
		"a hunk that ends early": head + file + "@@ -2,2 +2,2 @@\n-one\n+two\n",
		"a hunk that goes on":    head + file + change + " three\n",
		"counts that are wrong":  head + file + "@@ -2 +2,2 @@\n-one\n-two\n+three\n",
		"nothing old":            head + file + "@@ -2,0 +2 @@\n+two\n",
		"old is new":             head + file + "@@ -2 +2 @@\n-one\n+one\n",
		"no end of a line":       head + file + "@@ -2 +2 @@\n-one\n\\ No newline at end of file\n+two\n",
	} {
		if _, err := parse("a", text); err == nil {
			t.Errorf("%s is a patch", name)
		}
	}
}

func TestAPatchFitsOnce(t *testing.T) {
	p, err := parse("a", head+file+"@@ -2 +2 @@\n-\tone\n+\ttwo\n")
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
