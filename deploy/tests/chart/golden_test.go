package chart_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/portlease/portlease/deploy/tests/chart"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func newHelm(t *testing.T) *chart.Helm {
	t.Helper()
	h, err := chart.Build(t.Context(), os.Stderr, t.TempDir(), "")
	must(t, err)
	return h
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// flagsOf returns the flags of helm template in the first line of a values file, if that
// begins with the command. They stand for the cluster's capabilities.
func flagsOf(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	flags, given := strings.CutPrefix(first, "# helm template ")
	if !given {
		return nil
	}
	return strings.Fields(flags)
}

// TestChartRendersGoldenFiles renders the chart with each values file in testdata. The
// golden files show the author and the reviewer what a change of a template renders.
func TestChartRendersGoldenFiles(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.values.yaml")
	must(t, err)
	if len(cases) == 0 {
		t.Fatal("testdata has no values files")
	}
	h := newHelm(t)
	for _, values := range cases {
		name := strings.TrimSuffix(filepath.Base(values), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			got, err := h.Render(t.Context(), values, flagsOf(t, values)...)
			must(t, err)
			golden := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				must(t, os.WriteFile(golden, []byte(got), 0o600))
				return
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s differs from what the chart renders; go test ./deploy/tests/chart -update rewrites it. The first difference:\n%s", golden, difference(string(want), got))
			}
		})
	}
}

// difference returns the first line in which two texts differ, with its number.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		line := func(of []string) string {
			if i < len(of) {
				return of[i]
			}
			return "(end of file)"
		}
		if line(a) != line(b) {
			return "line " + strconv.Itoa(i+1) + "\nwant: " + line(a) + "\ngot:  " + line(b)
		}
	}
	return "none"
}

// TestEveryGoldenFileHasValues finds golden files that no values file renders.
func TestEveryGoldenFileHasValues(t *testing.T) {
	golden, err := filepath.Glob("testdata/*.golden.yaml")
	must(t, err)
	for _, path := range golden {
		if _, err := os.Stat(strings.Replace(path, ".golden.", ".values.", 1)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
