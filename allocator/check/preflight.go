// Package preflight looks whether an allocator could do its work here, before one
// is installed.
//
// It reads, and changes nothing. What cannot be found out without changing
// something is said to be unchecked, with the reason. It is as true as the moment
// in which it looks.
package check

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// State is how one thing was found.
type State string

// States.
const (
	OK State = "ok"
	// Warning is what works and may not for long, or not for everybody.
	Warning State = "warning"
	// Wrong is what keeps the allocator or the agents from working.
	Wrong State = "wrong"
	// NotChecked is what could not be looked at; Row.Say says why.
	NotChecked State = "not checked"
)

// Row is one thing that was looked at.
type Row struct {
	What  string
	State State
	// Say is what was found, and what to do about it.
	Say string
}

// Report is all that was looked at, in order.
type Report struct{ Rows []Row }

// Add adds what somebody else found out.
func (r *Report) Add(what string, state State, say string) { r.add(what, state, "%s", say) }

func (r *Report) add(what string, state State, format string, args ...any) {
	r.Rows = append(r.Rows, Row{what, state, fmt.Sprintf(format, args...)})
}

// judge adds a row that is wrong if there is an error.
func (r *Report) judge(what, say string, err error) bool {
	if err != nil {
		r.add(what, Wrong, "%v", err)
		return false
	}
	r.add(what, OK, "%s", say)
	return true
}

// Passed tells whether nothing is wrong.
func (r *Report) Passed() bool {
	for _, row := range r.Rows {
		if row.State == Wrong {
			return false
		}
	}
	return true
}

// Print writes the report as a table.
func (r *Report) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "STATE\tWHAT\tFOUND, AND WHAT TO DO"); err != nil {
		return err
	}
	for _, row := range r.Rows {
		say := strings.Join(strings.Fields(row.Say), " ")
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", row.State, row.What, say); err != nil {
			return err
		}
	}
	return table.Flush()
}
