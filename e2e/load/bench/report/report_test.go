package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/portlease/portlease/e2e/load/bench/report"
)

func TestSpreadHasTheMedianOfAllRounds(t *testing.T) {
	for want, rounds := range map[string][]float64{
		"0.29":             {0.29},
		"2.00 (1.00-128)":  {128, 1, 2},
		"2.50 (1.00-4.00)": {4, 3, 2, 1},
		"11.7 (10.0-12.3)": {12.345, 11.7, 10},
	} {
		if got := report.Of(rounds...).String(); got != want {
			t.Errorf("%v: got %q, want %q", rounds, got, want)
		}
	}
	if got := (report.Spread{}).String(); got != "-" {
		t.Errorf("not measured: got %q", got)
	}
}

func TestQuantileIsOneOfTheValues(t *testing.T) {
	values := make([]int, 200)
	for i := range values {
		values[i] = i + 1
	}
	for share, want := range map[float64]int{0: 1, 0.5: 101, 0.99: 199, 1: 200} {
		if got := report.Quantile(values, share); got != want {
			t.Errorf("%v: got %d, want %d", share, got, want)
		}
	}
	if got := report.Quantile([]int{7}, 0.99); got != 7 {
		t.Errorf("of one value: got %d", got)
	}
}

func TestTableIsPrintedAndWritten(t *testing.T) {
	table := report.Table{
		Name: "claims", About: "a claim against its floor",
		Columns: []report.Column{{Name: "ratio", Target: "≥ 0.50"}, {Name: "refused"}},
		Rows:    []report.Row{{Case: "1 replica", Figures: []report.Spread{report.Of(0.2, 0.3, 0.4), report.Of(0)}}},
	}
	var printed bytes.Buffer
	if err := table.Print(&printed); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"claims: a claim against its floor", "1 replica  0.30 (0.20-0.40)", "target", "≥ 0.50"} {
		if !strings.Contains(printed.String(), part) {
			t.Errorf("%q is not in\n%s", part, &printed)
		}
	}
	path, err := table.Write(t.Context(), t.TempDir()+"/results")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Commit, Date string
		report.Table
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if read.Commit == "" || read.Date == "" || read.Rows[0].Figures[0].Median != 0.3 || len(read.Rows[0].Figures[0].Rounds) != 3 || read.Columns[0].Target != "≥ 0.50" {
		t.Errorf("read %+v", read)
	}
}
