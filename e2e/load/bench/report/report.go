// Package report prints the tables of a benchmark, and writes them as JSON.
package report

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Table is the result of one part of the benchmark.
type Table struct {
	// Name is a word; it is part of the JSON file's name.
	Name string `json:"name"`
	// About says what is compared with what, and how.
	About   string   `json:"about"`
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Column is one figure of all rows.
type Column struct {
	Name string `json:"name"`
	// Target is what the project wants of the figure, such as "≥ 0.50"; empty if it wants
	// nothing.
	Target string `json:"target,omitempty"`
}

// Row is one case. Figures are in the order of the columns.
type Row struct {
	Case    string   `json:"case"`
	Figures []Spread `json:"figures"`
}

// Print prints the table for people: each figure is a median, with the least and the most
// in parentheses.
func (t Table) Print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s: %s\n\n", t.Name, t.About)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	names, targets := "", ""
	for _, c := range t.Columns {
		names += "\t" + c.Name
		targets += "\t" + c.Target
	}
	fmt.Fprintf(table, "%s\t\n", names)
	for _, r := range t.Rows {
		fmt.Fprint(table, r.Case)
		for _, f := range r.Figures {
			fmt.Fprintf(table, "\t%v", f)
		}
		fmt.Fprint(table, "\t\n")
	}
	if strings.Trim(targets, "\t") != "" {
		fmt.Fprintf(table, "target%s\t\n", targets)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing table %s: %w", t.Name, err)
	}
	return nil
}

// document is a table with what it was measured on.
type document struct {
	Commit string `json:"commit"`
	Date   string `json:"date"`
	Go     string `json:"go"`
	Cores  int    `json:"cores"`
	Table
}

// Write writes the table as bench-NAME.json into a folder, which it makes. It returns the
// path.
func (t Table) Write(ctx context.Context, folder string) (path string, err error) {
	text, err := json.MarshalIndent(document{
		Commit: commit(ctx), Date: time.Now().UTC().Format(time.RFC3339), Go: runtime.Version(), Cores: runtime.NumCPU(), Table: t,
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding table %s: %w", t.Name, err)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return "", fmt.Errorf("making the folder of the results: %w", err)
	}
	path = filepath.Join(folder, "bench-"+t.Name+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("writing table %s: %w", t.Name, err)
	}
	return path, nil
}

// commit is that of the working copy, with -dirty if it was changed; "unknown" without git.
func commit(ctx context.Context) string {
	text, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude", "*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
