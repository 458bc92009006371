// Package check reports if an allocator could work here, before one is installed.
//
// It only reads. A property that cannot be checked without a change is reported as
// unchecked, with the reason. The report is a snapshot.
package check

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// State is the result of one check.
type State string

// The results.
const (
	OK State = "ok"
	// Warning works, but maybe not for long, or not for everybody.
	Warning State = "warning"
	// Error keeps the allocator or the agents from working.
	Error State = "error"
	// Unchecked could not be checked; Row.Finding says why.
	Unchecked State = "unchecked"
)

// Row is one check.
type Row struct {
	What  string
	State State
	// Finding is what was found, and what to do about it.
	Finding string
}

// Report has all checks, in order.
type Report struct{ Rows []Row }

// Add adds the result of a check.
func (r *Report) Add(what string, state State, finding string) { r.add(what, state, "%s", finding) }

func (r *Report) add(what string, state State, format string, args ...any) {
	r.Rows = append(r.Rows, Row{what, state, fmt.Sprintf(format, args...)})
}

// addResult adds a row for a call that succeeded or failed.
func (r *Report) addResult(what, finding string, err error) bool {
	if err != nil {
		r.add(what, Error, "%v", err)
		return false
	}
	r.add(what, OK, "%s", finding)
	return true
}

// Passed reports that no check found an error.
func (r *Report) Passed() bool {
	for _, row := range r.Rows {
		if row.State == Error {
			return false
		}
	}
	return true
}

// Print writes the report as a table.
func (r *Report) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "RESULT\tCHECK\tFINDING AND REMEDY"); err != nil {
		return err
	}
	for _, row := range r.Rows {
		finding := strings.Join(strings.Fields(row.Finding), " ")
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", row.State, row.What, finding); err != nil {
			return err
		}
	}
	return table.Flush()
}
