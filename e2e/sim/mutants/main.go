package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run()) }

func run() int {
	only := flag.String("only", "", "try only the mutants whose name or rule has this in it")
	list := flag.Bool("list", false, "list the mutants and try none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := mutants(ctx, *only, *list, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: failed:", err)
		return 1
	}
	return 0
}

// mutants tries all patches, or those with only in their name or rule, in the order
// of the rules.
func mutants(ctx context.Context, only string, list bool, out io.Writer) (err error) {
	patches, err := readPatches(patchFiles)
	if err != nil {
		return err
	}
	patches = slices.DeleteFunc(patches, func(p patch) bool { return !strings.Contains(p.name, only) && !strings.Contains(p.rule, only) })
	slices.SortStableFunc(patches, func(a, b patch) int { return slices.Index(rules, a.rule) - slices.Index(rules, b.rule) })
	if len(patches) == 0 {
		return fmt.Errorf("no mutant has %q in its name or rule; -list shows them", only)
	}
	if list {
		for _, p := range patches {
			fmt.Fprintf(out, "%s (%s): %s; to be noticed by %s\n", p.name, p.rule, p.about, p.test)
		}
		return nil
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "portlease-mutants-")
	if err != nil {
		return fmt.Errorf("making a folder for builds: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := newBench(root, folder)
	var results []result
	for i, p := range patches {
		began := time.Now()
		r := b.try(ctx, p)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		results = append(results, r)
		fmt.Fprintf(out, "%d/%d %s: %s (%v)\n", i+1, len(patches), p.name, r, time.Since(began).Round(time.Second))
	}
	return report(out, results)
}

// moduleRoot is the folder of the module that this is part of.
func moduleRoot(ctx context.Context) (string, error) {
	file, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(file))), nil
}
