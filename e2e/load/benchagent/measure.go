package benchagent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/portlease/portlease/e2e/load/cost"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// The most that an agent may cost, and that the renewals may cost the allocator.
const (
	mostResident  = 18.0 // MiB
	mostAnonymous = 6.0  // MiB
	mostBinary    = 17.0 // MB
	mostProcessor = 0.1  // percent of a core, an agent
	mostAllocator = 5.0  // percent of a core
)

// agones is the cost of Agones' sidecar, measured once on such a machine: sdk-server
// 1.57-dev in local mode.
var agones = struct{ resident, anonymous, binary float64 }{50, 11.5, 60.6}

// counts are the agents' calls so far; calls to AWS are counted from the start of the
// measurement.
type counts struct{ aws, kube int }

func (b *bench) counts() (c counts, err error) {
	for _, call := range b.Emulator.Calls() {
		if call.Seq > b.from && !strings.HasPrefix(call.AccessKeyID, "ALLOCATOR") {
			c.aws++
		}
	}
	entries, err := b.Kube.AuditEntries()
	if err != nil {
		return c, err
	}
	for _, e := range entries {
		if e.User == "system:serviceaccount:"+b.Games+":game" {
			c.kube++
		}
	}
	return c, nil
}

func (b *bench) measure(ctx context.Context, callers *callers) error {
	var pids []int
	for _, p := range b.pods {
		pids = append(pids, p.PID())
	}
	allocator := b.Replicas[0].PID()
	if calls := b.Emulator.Calls(); len(calls) > 0 {
		b.from = calls[len(calls)-1].Seq
	}
	before, err := b.counts()
	if err != nil {
		return err
	}
	agentsBefore, err := cost.ProcessorTime(pids...)
	if err != nil {
		return err
	}
	allocatorBefore, err := cost.ProcessorTime(allocator)
	if err != nil {
		return err
	}
	renewedBefore := callers.renewed.Load()
	start := time.Now()
	b.Say("measuring for %v", b.length)
	if scenario.Wait(ctx, b.length); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	took := time.Since(start)
	agentsAfter, err := cost.ProcessorTime(pids...)
	if err != nil {
		return err
	}
	allocatorAfter, err := cost.ProcessorTime(allocator)
	if err != nil {
		return err
	}
	after, err := b.counts()
	if err != nil {
		return err
	}
	resident, anonymous, err := memory(pids)
	if err != nil {
		return err
	}
	size, err := b.binary(ctx)
	if err != nil {
		return err
	}
	if n := callers.failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d simulated renewals failed", n, callers.renewed.Load())
	}
	percent := func(d time.Duration, n int) float64 { return 100 * d.Seconds() / took.Seconds() / float64(n) }
	hour := func(n int) float64 { return float64(n) / float64(b.agents) * float64(time.Hour) / float64(took) }
	table := tabwriter.NewWriter(b.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(what, format string, got, most, other any) {
		fmt.Fprintf(table, "%s\t"+format+"\t%v\t%v\t\n", what, got, most, other)
	}
	fmt.Fprintf(table, "an agent that holds its claim\tmeasured\tat most\tAgones\t\n")
	row("resident, MiB, median", "%.1f", middle(resident), mostResident, agones.resident)
	row("resident, MiB, worst", "%.1f", slices.Max(resident), mostResident, "")
	row("anonymous, MiB, median", "%.1f", middle(anonymous), mostAnonymous, agones.anonymous)
	row("anonymous, MiB, worst", "%.1f", slices.Max(anonymous), mostAnonymous, "")
	row("binary, MB", "%.1f", size, mostBinary, agones.binary)
	row("processor, % of a core", "%.3f", percent(agentsAfter-agentsBefore, b.agents), mostProcessor, "")
	row("AWS calls an hour", "%.1f", hour(after.aws-before.aws), 0, "")
	row("Kubernetes calls an hour", "%.1f", hour(after.kube-before.kube), 0, "")
	row(fmt.Sprintf("allocator, %% of a core for %d pods", b.agents+b.callers), "%.1f", percent(allocatorAfter-allocatorBefore, 1), mostAllocator, "")
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(b.Out, "bench-agent: %d agents and %d callers, %d simulated renewals in %.0f s\n",
		b.agents, b.callers, callers.renewed.Load()-renewedBefore, took.Seconds())
	return nil
}

func middle(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// memory returns the memory use of all processes in MiB.
func memory(pids []int) (resident, anonymous []float64, err error) {
	for _, pid := range pids {
		m, err := cost.MemoryOf(pid)
		if err != nil {
			return nil, nil, err
		}
		resident, anonymous = append(resident, m.Resident), append(anonymous, m.Anonymous)
	}
	return resident, anonymous, nil
}

// binary builds the agent as it is shipped and returns its size in MB.
func (b *bench) binary(ctx context.Context) (float64, error) {
	dir, err := os.MkdirTemp("", "portlease-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	path := filepath.Join(dir, "agent")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/portlease/portlease/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the agent: %w\n%s", err, strings.TrimSpace(string(text)))
	}
	file, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return float64(file.Size()) / 1e6, nil
}
