package main

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
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

// edit puts new in the place of old. Both are whole lines.
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

// Marks between the parts of an edit, each a line of its own.
const (
	markOld = "<<<< old"
	markNew = "==== new"
	markEnd = ">>>>"
)

// parse reads one patch.
func parse(name, text string) (patch, error) {
	p := patch{name: name}
	head, body, _ := strings.Cut(text, markOld+"\n")
	if err := p.header(head); err != nil {
		return p, err
	}
	for rest := body; ; {
		before, rest2, found := strings.Cut(rest, markNew+"\n")
		if !found {
			return p, fmt.Errorf("a change has no line %q", markNew)
		}
		after, rest3, found := strings.Cut("\n"+rest2, "\n"+markEnd+"\n")
		if !found {
			return p, fmt.Errorf("a change has no line %q", markEnd)
		}
		if after = strings.TrimPrefix(after, "\n"); after != "" {
			after += "\n"
		}
		if before == "" || before == after {
			return p, fmt.Errorf("a change replaces %q by itself", before)
		}
		p.edits = append(p.edits, edit{before, after})
		if rest3 = strings.TrimLeft(rest3, "\n"); rest3 == "" {
			return p, nil
		}
		if rest, found = strings.CutPrefix(rest3, markOld+"\n"); !found {
			return p, fmt.Errorf("after a change comes %q in place of %q", strings.SplitN(rest3, "\n", 2)[0], markOld)
		}
	}
}

// header reads the lines before the first change; all of them are required.
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
	for _, key := range []string{"rule", "about", "file", "test", "expect"} {
		if fields[key] == "" {
			return fmt.Errorf("the header has no %q", key)
		}
	}
	if len(fields) != 5 {
		return fmt.Errorf("the header has lines that mean nothing: %v", fields)
	}
	p.rule, p.about, p.file = fields["rule"], fields["about"], fields["file"]
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

// apply gives the text of the patched file. Each change must fit exactly once.
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
