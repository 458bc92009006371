package main

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// ending is what the names of patches end with.
const ending = ".patch"

//go:embed patches
var patchFiles embed.FS

// patch is one deliberate bug, and how it is to be noticed.
type patch struct {
	name, rule, about string
	// file is what it changes, from the module's folder on.
	file  string
	edits []edit
	test  command
	// expect is what a line of the failing test's output matches.
	expect *regexp.Regexp
}

// edit is a hunk: it replaces old with new. Both are whole lines.
type edit struct{ old, new string }

// command is one run of one package's tests.
type command struct {
	pkg string // as go test takes it
	run string // which of its tests
	// args are the tests' own flags, separated by spaces.
	args string
}

// String is how a person would call it.
func (c command) String() string {
	return strings.TrimSpace(strings.Join([]string{c.pkg, c.run, c.args}, " "))
}

// readPatches reads all patches of a folder, in the order of their names.
func readPatches(folder fs.FS) ([]patch, error) {
	names, err := fs.Glob(folder, "*/*"+ending)
	if err != nil {
		return nil, fmt.Errorf("listing patches: %w", err)
	}
	var all []patch
	for _, name := range names {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("reading patches: %w", err)
		}
		p, err := parse(strings.TrimSuffix(path.Base(name), ending), string(text))
		if err != nil {
			return nil, fmt.Errorf("reading patch %s: %w", name, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// parse reads one patch: a header and a unified diff of one file.
func parse(name, text string) (patch, error) {
	p := patch{name: name}
	head, diff, found := strings.Cut(text, "\n--- ")
	if !found {
		return p, errors.New(`after the header comes no line "--- a/FILE"`)
	}
	if err := p.header(head); err != nil {
		return p, err
	}
	lines := strings.SplitAfter("--- "+diff, "\n")
	before, _ := strings.CutPrefix(strings.TrimSuffix(lines[0], "\n"), "--- a/")
	after, named := strings.CutPrefix(strings.TrimSuffix(lines[1], "\n"), "+++ b/")
	if !named || before != after {
		return p, fmt.Errorf("the diff is not of one file: %q, %q", lines[0], lines[1])
	}
	p.file = after
	for rest := lines[2:]; len(rest) > 0 && rest[0] != ""; {
		e, n, err := parseHunk(rest)
		if err != nil {
			return p, err
		}
		p.edits, rest = append(p.edits, e), rest[n:]
	}
	if len(p.edits) == 0 {
		return p, errors.New("the diff changes nothing")
	}
	return p, nil
}

// hunkStart is the first line of a hunk, with how many lines it has before and after.
var hunkStart = regexp.MustCompile(`^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@`)

// parseHunk reads the first hunk of some lines, and how many lines it takes.
func parseHunk(lines []string) (e edit, n int, err error) {
	counts := hunkStart.FindStringSubmatch(lines[0])
	if counts == nil {
		return e, 0, fmt.Errorf("%q is no start of a hunk", lines[0])
	}
	var left [2]int
	for i := range left {
		if left[i], err = strconv.Atoi(cmp.Or(counts[i+1], "1")); err != nil {
			return e, 0, fmt.Errorf("reading %q: %w", lines[0], err)
		}
	}
	for n = 1; left[0] > 0 || left[1] > 0; n++ {
		if n == len(lines) || lines[n] == "" {
			return e, n, fmt.Errorf("hunk %q ends too early", lines[0])
		}
		kind, text := lines[n][0], lines[n][1:]
		if kind == '\n' { // an empty line of context whose blank an editor has cut off
			kind, text = ' ', "\n"
		}
		switch kind {
		case ' ':
			e.old, e.new = e.old+text, e.new+text
			left[0], left[1] = left[0]-1, left[1]-1
		case '-':
			e.old, left[0] = e.old+text, left[0]-1
		case '+':
			e.new, left[1] = e.new+text, left[1]-1
		default:
			return e, n, fmt.Errorf("%q is no line of a hunk", lines[n])
		}
	}
	if e.old == "" || e.old == e.new || left != [2]int{} {
		return e, n, fmt.Errorf("hunk %q changes nothing, or its counts are wrong", lines[0])
	}
	return e, n, nil
}

// header reads the lines before the diff; all of them are required.
func (p *patch) header(head string) (err error) {
	fields := make(map[string]string)
	for line := range strings.Lines(head) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		if _, twice := fields[key]; twice {
			return fmt.Errorf("the header has %q twice", key)
		}
		fields[key] = strings.TrimSpace(value)
	}
	for _, key := range []string{"rule", "about", "test", "expect"} {
		if fields[key] == "" {
			return fmt.Errorf("the header has no %q", key)
		}
	}
	if len(fields) != 4 {
		return fmt.Errorf("the header has lines that mean nothing: %v", fields)
	}
	p.rule, p.about = fields["rule"], fields["about"]
	words := strings.Fields(fields["test"])
	if len(words) < 2 {
		return fmt.Errorf("test %q is not a package and a pattern", fields["test"])
	}
	p.test = command{words[0], words[1], strings.Join(words[2:], " ")}
	if _, err := regexp.Compile(p.test.run); err != nil {
		return fmt.Errorf("reading which tests to run: %w", err)
	}
	p.expect, err = regexp.Compile(fields["expect"])
	if err != nil {
		return fmt.Errorf("reading what to expect: %w", err)
	}
	return nil
}

// apply returns the text of the patched file. Each hunk must fit exactly once, at any
// line.
func (p patch) apply(text string) (string, error) {
	for _, e := range p.edits {
		if n := places("\n"+text, "\n"+e.old); n != 1 {
			return "", fmt.Errorf("patch %s is stale: what it replaces, beginning with %q, is %d times in %s; write e2e/sim/mutants/patches/%s%s anew for the code as it is",
				p.name, strings.TrimSpace(strings.SplitN(e.old, "\n", 2)[0]), n, p.file, p.name, ending)
		}
		text = strings.Replace("\n"+text, "\n"+e.old, "\n"+e.new, 1)[1:]
	}
	return text, nil
}

// places counts where a text has another in it, overlapping ones too.
func places(text, part string) (n int) {
	for {
		at := strings.Index(text, part)
		if at < 0 {
			return n
		}
		n++
		text = text[at+1:]
	}
}
