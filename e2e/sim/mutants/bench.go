package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// longest is how long one run of tests may take. Whatever is not noticed until
	// then is not noticed.
	longest = 4 * time.Minute
	// lastWords is how long what was interrupted may take to end.
	lastWords = 5 * time.Second
)

// bench builds and runs tests, with and without a patch.
type bench struct {
	root    string        // the module's folder
	folder  string        // for what is built; it is whoever's made the bench
	longest time.Duration // of one run
	builds  int
	// plain has the tests of each package as it is, and sound what became of each
	// command that was run on them.
	plain map[string]string
	sound map[command]error
}

func newBench(root, folder string) *bench {
	return &bench{root: root, folder: folder, longest: longest, plain: make(map[string]string), sound: make(map[command]error)}
}

// try puts one bug in and runs the test that should notice it.
func (b *bench) try(ctx context.Context, p patch) result {
	r := result{patch: p}
	before, err := os.ReadFile(filepath.Join(b.root, p.file))
	if err != nil {
		r.broken = err
		return r
	}
	after, err := p.apply(string(before))
	if err != nil {
		r.broken = err
		return r
	}
	if err := b.control(ctx, p.test); err != nil {
		r.broken = fmt.Errorf("its test does not pass without it: %w", err)
		return r
	}
	tree, overlay, err := b.lay(p, after)
	if err != nil {
		r.broken = err
		return r
	}
	tests, err := b.build(ctx, p.test.pkg, overlay)
	if err != nil {
		r.broken = err
		return r
	}
	defer os.Remove(tests) //nolint:errcheck // its folder is removed in the end
	r.outcome, r.broken = b.run(ctx, tree, tests, p)
	return r
}

// control runs a command on the code as it is, once.
func (b *bench) control(ctx context.Context, c command) error {
	if err, known := b.sound[c]; known {
		return err
	}
	tests, err := b.plainTests(ctx, c.pkg)
	if err == nil {
		var o outcome
		o, err = b.run(ctx, b.root, tests, patch{test: c})
		switch {
		case err != nil:
		case o.ran == 0:
			err = fmt.Errorf("%s runs no test", c)
		case !o.passed:
			err = fmt.Errorf("%s fails: %s", c, o)
		}
	}
	b.sound[c] = err
	return err
}

// plainTests gives the compiled tests of a package as it is.
func (b *bench) plainTests(ctx context.Context, pkg string) (tests string, err error) {
	if tests, built := b.plain[pkg]; built {
		return tests, nil
	}
	if tests, err = b.build(ctx, pkg, ""); err == nil {
		b.plain[pkg] = tests
	}
	return tests, err
}

// lay writes the patched file where builds and tests find it in place of the
// original: Go files over the tree by an overlay, and others, which tests read when
// they run, in a copy of the tree.
func (b *bench) lay(p patch, text string) (tree, overlay string, err error) {
	b.builds++
	own := filepath.Join(b.folder, strconv.Itoa(b.builds))
	if !strings.HasSuffix(p.file, ".go") {
		if err := os.CopyFS(own, onlyTree{os.DirFS(b.root)}); err != nil {
			return "", "", fmt.Errorf("copying the tree: %w", err)
		}
		return own, "", os.WriteFile(filepath.Join(own, p.file), []byte(text), 0o600)
	}
	if err := os.Mkdir(own, 0o700); err != nil {
		return "", "", fmt.Errorf("making a folder for a patched file: %w", err)
	}
	patched := filepath.Join(own, filepath.Base(p.file))
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(b.root, p.file): patched}})
	if err != nil {
		return "", "", fmt.Errorf("writing an overlay: %w", err)
	}
	overlay = filepath.Join(own, "overlay.json")
	return b.root, overlay, errors.Join(os.WriteFile(patched, []byte(text), 0o600), os.WriteFile(overlay, replaced, 0o600))
}

// build compiles a package's tests, with an overlay if there is one. What does not
// compile proves nothing and is an error.
func (b *bench) build(ctx context.Context, pkg, overlay string) (tests string, err error) {
	b.builds++
	tests = filepath.Join(b.folder, strconv.Itoa(b.builds)+".test")
	args := []string{"test", "-c", "-vet=off", "-o", tests}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, pkg)...)
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the tests of %s: %w\n%s", pkg, err, out)
	}
	return tests, nil
}

// run runs built tests in their package's folder of a tree, until they end, take too
// long, or have said what the patch expects of a simulation.
func (b *bench) run(ctx context.Context, tree, tests string, p patch) (outcome, error) {
	o := outcome{expect: p.expect}
	timed, cancel := context.WithTimeout(ctx, b.longest)
	defer cancel()
	args := append([]string{"-test.v", "-test.timeout=0", "-test.run=" + p.test.run}, strings.Fields(p.test.args)...)
	cmd := exec.CommandContext(timed, tests, args...)
	cmd.Dir = filepath.Join(tree, p.test.pkg)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = lastWords
	out, err := cmd.StdoutPipe()
	if err != nil {
		return o, fmt.Errorf("running %s: %w", p.test, err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return o, fmt.Errorf("running %s: %w", p.test, err)
	}
	reading := o.read(out, cancel)
	err = cmd.Wait()
	switch {
	case o.seed != "": // it has said what there is to say
	case errors.Is(timed.Err(), context.DeadlineExceeded):
		o.late = true
	case reading != nil:
		return o, fmt.Errorf("reading what %s prints: %w", p.test, reading)
	default:
		o.passed = err == nil
	}
	return o, nil
}

// read takes note of what tests print. It calls enough when a simulation has shown
// the first violation that is expected: the seeds that follow would only cost time.
func (o *outcome) read(out io.Reader, enough func()) error {
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if o.hear(strings.TrimSpace(line)); o.seed != "" {
			enough()
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}
