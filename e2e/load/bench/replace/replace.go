// Package replace measures pods that come and go: a rolling replacement of a whole fleet, and
// steady churn near the limit of what AWS allows.
package replace

import (
	"context"
	"fmt"
	"time"

	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// Config configures a measurement; all of it is required.
type Config struct {
	Stage *scenario.Stage
	// Pods are replaced, with at most Surge more than usual.
	Pods, Surge int
	// Running pods are there while Replacements of them come and go, at Share of the rate that
	// AWS allows.
	Running, Replacements int
	Share                 float64
	// Rolling and Churn measure; see fleet.MeasureRolling and fleet.MeasureChurn.
	Rolling func(ctx context.Context, stage *scenario.Stage, pods, surge int) (fleet.Replacement, error)
	Churn   func(ctx context.Context, stage *scenario.Stage, pods, replacements int, share float64) (fleet.Replacement, error)
}

// Measure measures both.
func Measure(ctx context.Context, c Config) (report.Table, error) {
	t := report.Table{
		Name: "replace",
		About: "pods come and go, against AWS's token buckets and delays. The bound is the time that the mutating calls of all starts and ends take, and that the last " +
			"target group is in use. Times are from the start of a pod's agent to its endpoint, at AWS's speed, and have some 4 s of AWS's delays",
		Columns: []report.Column{
			{Name: "÷ bound"}, {Name: "p50, s"}, {Name: "p95, s"}, {Name: "p99, s"}, {Name: "throttled %", Target: "≤ 0.1"}, {Name: "refused deletions %", Target: "≤ 2"},
		},
	}
	rolling, err := c.Rolling(ctx, c.Stage, c.Pods, c.Surge)
	if err != nil {
		return t, fmt.Errorf("replacing %d pods: %w", c.Pods, err)
	}
	churn, err := c.Churn(ctx, c.Stage, c.Running, c.Replacements, c.Share)
	if err != nil {
		return t, fmt.Errorf("churn of %d pods: %w", c.Replacements, err)
	}
	t.Rows = []report.Row{
		row(fmt.Sprintf("%d pods replaced, %d at a time", c.Pods, c.Surge), rolling),
		row(fmt.Sprintf("%d pods come and go at %.0f %% of the rate", c.Replacements, 100*c.Share), churn),
	}
	return t, nil
}

func row(name string, r fleet.Replacement) report.Row {
	wait := func(share float64) report.Spread {
		if len(r.Waits) == 0 {
			return report.Spread{}
		}
		return report.Of(report.Quantile(r.Waits, share).Seconds())
	}
	return report.Row{Case: name, Figures: []report.Spread{
		report.Of(float64(r.Took) / float64(max(r.Least, time.Second))), wait(0.5), wait(0.95), wait(0.99), report.Of(r.Throttled), report.Of(r.Refused),
	}}
}
