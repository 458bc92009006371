// Package fleets compares how portlease and other ways start and stop a fleet of pods, on
// emulated accounts with AWS's buckets and delays, at AWS's own speed and at the same time.
package fleets

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/bench/alternatives"
	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// Case is one fleet.
type Case struct {
	Pods int
	// Stop also stops it.
	Stop bool
}

// Cases are those of a whole run.
var Cases = []Case{{100, true}, {300, false}}

// ParseCases reads cases such as "100:stop,300".
func ParseCases(text string) (cases []Case, err error) {
	for one := range strings.SplitSeq(text, ",") {
		pods, stop := strings.CutSuffix(one, ":stop")
		n, err := strconv.Atoi(pods)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of pods, such as 300 or 100:stop", one)
		}
		cases = append(cases, Case{n, stop})
	}
	return cases, nil
}

// Config configures a comparison; all of it is required.
type Config struct {
	Stage        *scenario.Stage
	Cases        []Case
	Alternatives []alternatives.Alternative
	// Portlease starts and stops a fleet of portlease's; see fleet.Measure.
	Portlease func(ctx context.Context, stage *scenario.Stage, pods int, stop bool) (fleet.Figures, error)
}

const (
	// patience is how many times the bound an alternative may take. leastPatience is for
	// small fleets, whose bound is next to nothing.
	patience      = 1.5
	leastPatience = 90 * time.Second
)

// Measure compares all cases.
func Measure(ctx context.Context, c Config) (report.Table, error) {
	t := table(c.Alternatives)
	for _, one := range c.Cases {
		rows, err := c.measure(ctx, one)
		if err != nil {
			return t, fmt.Errorf("measuring %d pods: %w", one.Pods, err)
		}
		t.Rows = append(t.Rows, rows...)
	}
	return t, nil
}

func table(others []alternatives.Alternative) report.Table {
	var about strings.Builder
	fmt.Fprintf(&about, "all pods of a fleet start at once, and stop at once; the bound is the time that the account's mutating calls take, "+
		"and stopping may take the %v longer for which AWS refuses to delete a target group. An alternative may take %v times the bound", fleet.InUseWindow(), patience)
	for _, a := range others {
		fmt.Fprintf(&about, "; %s: %s", a.Name, a.Settings)
	}
	return report.Table{
		Name: "fleet", About: about.String(),
		Columns: []report.Column{
			{Name: "start ÷ bound", Target: "≤ 1.10, 1.05"}, {Name: "throttled %", Target: "≤ 0.1"}, {Name: "calls/pod"}, {Name: "failed pods", Target: "0"},
			{Name: "stop ÷ (bound + window)", Target: "≤ 1.10"}, {Name: "left in AWS", Target: "0"},
		},
	}
}

// measure runs portlease and the alternatives at the same time.
func (c Config) measure(ctx context.Context, one Case) ([]report.Row, error) {
	rows := make([]report.Row, 1+len(c.Alternatives))
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		f, err := c.Portlease(running, c.Stage, one.Pods, one.Stop)
		rows[0] = one.row("portlease", alternatives.Result{Start: f.Start, Calls: f.Calls, Throttled: f.Throttled, Stop: f.Stop, Leftovers: f.Leftovers})
		return err
	})
	for i, a := range c.Alternatives {
		group.Go(func() error {
			r, err := one.run(running, a)
			rows[1+i] = one.row(a.Name, r)
			return err
		})
	}
	return rows, group.Wait()
}

// run starts and stops the fleet of an alternative.
func (one Case) run(ctx context.Context, a alternatives.Alternative) (alternatives.Result, error) {
	most := max(time.Duration(patience*float64(fleet.Bound(one.Pods))), leastPatience)
	r, stop, err := alternatives.Start(ctx, a, one.Pods, most)
	if err != nil || !one.Stop {
		return r, err
	}
	return stop(most + fleet.InUseWindow())
}

func (one Case) row(name string, r alternatives.Result) report.Row {
	bound := fleet.Bound(one.Pods)
	row := report.Row{Case: fmt.Sprintf("%d pods, %s", one.Pods, name), Figures: []report.Spread{
		report.Of(r.Start.Seconds() / bound.Seconds()), report.Of(100 * float64(r.Throttled) / float64(max(r.Calls, 1))),
		report.Of(float64(r.Calls) / float64(one.Pods)), report.Of(float64(r.Failed)), {}, {},
	}}
	if one.Stop {
		row.Figures[4] = report.Of(r.Stop.Seconds() / (bound + fleet.InUseWindow()).Seconds())
		row.Figures[5] = report.Of(float64(r.Leftovers))
	}
	return row
}
