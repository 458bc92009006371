// Package held measures what an allocator costs while nothing happens: pods that hold
// ports renew their claims, and pods that wait for a port ask for it again.
//
// The allocator is one process. The pods have no agents; their calls come from the agent's
// own client, with its retries and its connection, and their bindings exist in AWS, so
// audits have work, too.
package held

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/e2e/load/cost"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// Config configures a measurement; all of it is required.
type Config struct {
	Kube *kubeapi.API
	// Renewing are the numbers of pods that hold a port, in growing order. Waiting is how
	// many more wait for one at the end.
	Renewing []int
	Waiting  int
	// Slow is by how much later the answers of the API server come while as many pods as before
	// renew.
	Slow time.Duration
	// WarmUp is how long a number of pods calls before it is measured.
	WarmUp time.Duration
	// Rounds is how often a number of pods is measured, each time for that long.
	Rounds   int
	Each     time.Duration
	Progress io.Writer
	Say      func(format string, args ...any)
}

// measurement is a running one.
type measurement struct {
	Config
	*site.Site
	allocator *rig.Replica
	// agents counts all agents, for their addresses.
	agents int
}

// Measure measures all numbers of pods in one installation.
func Measure(ctx context.Context, c Config) (t report.Table, err error) {
	m := &measurement{Config: c}
	loadBalancers := (c.Renewing[len(c.Renewing)-1] + site.PortsEach - 1) / site.PortsEach
	// How long pods are told to wait depends on how fast AWS lets ports come free.
	if m.Site, err = site.New(ctx, site.Config{Kube: c.Kube, Replicas: 1, LoadBalancers: loadBalancers, Budget: site.AWSBudget, Progress: c.Progress}); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	if err := m.serve(ctx); err != nil {
		return t, err
	}
	t = c.table()
	rows, err := m.renewing(ctx)
	if err != nil {
		return t, err
	}
	row, err := m.waiting(ctx)
	t.Rows = append(rows, row)
	return t, err
}

// serve starts the allocator anew.
func (m *measurement) serve(ctx context.Context, flags ...string) error {
	most := m.Renewing[len(m.Renewing)-1]
	// A connection for each pod, as in docs/performance.md.
	flags = append(flags, "-max-connections", strconv.Itoa(most+m.Waiting+100))
	replicas, err := m.Serve(ctx, 1, (most+site.PortsEach-1)/site.PortsEach, flags...)
	if err != nil {
		return err
	}
	m.allocator = replicas[0]
	return nil
}

func (c Config) table() report.Table {
	return report.Table{
		Name: "held",
		About: fmt.Sprintf("what one allocator costs while pods that hold a port renew every 30 s, and while pods wait for a port of an exhausted pool; "+
			"%d rounds of %v", c.Rounds, c.Each),
		Columns: []report.Column{
			{Name: "% of a core", Target: "≤ 4 for 1,200, ≤ 5 waiting"}, {Name: "resident MiB", Target: "≤ 128"},
			{Name: "calls/s"}, {Name: "ms/call"}, {Name: "API calls/call"}, {Name: "failed %"},
		},
	}
}

// tally counts the calls of all pods.
type tally struct{ calls, failed int64 }

// rounds measures what the allocator costs while pods call. count gives their calls so
// far.
func (m *measurement) rounds(ctx context.Context, name string, count func() tally) (report.Row, error) {
	row := report.Row{Case: name}
	figures := make([][]float64, len(m.table().Columns))
	for range m.Rounds {
		got, err := m.round(ctx, count)
		if err != nil {
			return row, err
		}
		for i, v := range got {
			figures[i] = append(figures[i], v)
		}
	}
	for _, f := range figures {
		row.Figures = append(row.Figures, report.Of(f...))
	}
	return row, nil
}

// round returns the figures of one round, in the order of the columns.
func (m *measurement) round(ctx context.Context, count func() tally) ([]float64, error) {
	pid := m.allocator.PID()
	callsBefore, err := m.APICalls(ctx)
	if err != nil {
		return nil, err
	}
	before, err := cost.ProcessorTime(pid)
	if err != nil {
		return nil, err
	}
	began, told := time.Now(), count()
	if scenario.Wait(ctx, m.Each); ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	took, now := time.Since(began), count()
	after, err := cost.ProcessorTime(pid)
	if err != nil {
		return nil, err
	}
	calls, err := m.APICalls(ctx)
	if err != nil {
		return nil, err
	}
	memory, err := cost.MemoryOf(pid)
	if err != nil {
		return nil, err
	}
	processor, n := (after - before).Seconds(), float64(max(now.calls-told.calls, 1))
	return []float64{
		100 * processor / took.Seconds(), memory.Resident, n / took.Seconds(), 1000 * processor / n,
		float64(calls.Since(callsBefore)) / n, 100 * float64(now.failed-told.failed) / n,
	}, nil
}
