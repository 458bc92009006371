// Package bench measures what the project promises about its speed, each figure as a
// ratio to something that runs in the same minutes on the same machine.
package bench

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/e2e/load/bench/alternatives"
	"github.com/portlease/portlease/e2e/load/bench/claims"
	"github.com/portlease/portlease/e2e/load/bench/fleets"
	"github.com/portlease/portlease/e2e/load/bench/held"
	"github.com/portlease/portlease/e2e/load/bench/recovery"
	"github.com/portlease/portlease/e2e/load/bench/replace"
	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// Bench measures all parts, or one.
var Bench = scenario.Scenario{
	Name:    "bench",
	Summary: "measure the speed of claims, renewals and fleets against what is possible at best",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		b := &bench{claims: claims.Config{Cases: claims.Cases}, held: held.Config{WarmUp: 40 * time.Second, Rounds: 3, Each: 20 * time.Second}}
		flags.Func("part", "measure only "+strings.Join(b.names(), " or ")+" (default all)", b.choose)
		flags.StringVar(&b.folder, "json", "", "folder to write the tables to as JSON, one file each")
		flags.Func("cases", "cases of claims, each replicas:leases, with growing leases (default 1:100,1:1000,2:1000,3:1000,1:10000)", func(text string) (err error) {
			b.claims.Cases, err = claims.ParseCases(text)
			return err
		})
		scenario.CountFlag(flags, &b.claims.Callers, "callers", 64, "concurrent callers of claims")
		scenario.CountFlag(flags, &b.claims.Claims, "claims", 384, "claims of one round")
		scenario.CountFlag(flags, &b.claims.Rounds, "rounds", 5, "rounds of each case of claims")
		flags.Func("renewing", "numbers of pods that renew, growing (default 1000,5000)", func(text string) (err error) {
			b.held.Renewing, err = numbers(text)
			return err
		})
		b.held.Renewing = []int{1000, 5000}
		flags.DurationVar(&b.held.Slow, "slow", 250*time.Millisecond, "by how much a slow Kubernetes API answers later")
		scenario.CountFlag(flags, &b.held.Waiting, "waiting", 5000, "pods that wait for a port")
		flags.Func("fleets", "fleets, each a number of pods, with :stop if it is stopped, too (default 100:stop,300)", func(text string) (err error) {
			b.fleets, err = fleets.ParseCases(text)
			return err
		})
		b.fleets = fleets.Cases
		b.recovery = recovery.Config{Held: 1000, Restarts: 5, Audited: 3000, Audits: 4}
		scenario.CountFlag(flags, &b.recovery.Crashed, "crashed", 300, "pods that crash at once")
		b.replace = replace.Config{Running: 60, Share: 0.9, Rolling: fleet.MeasureRolling, Churn: fleet.MeasureChurn}
		scenario.CountFlag(flags, &b.replace.Pods, "replaced", 300, "pods that are replaced")
		scenario.CountFlag(flags, &b.replace.Surge, "surge", 75, "how many more pods there may be meanwhile")
		scenario.CountFlag(flags, &b.replace.Replacements, "churn", 405, "pods that come and go")
		return b.play
	},
}

type bench struct {
	part     string
	folder   string
	claims   claims.Config
	held     held.Config
	recovery recovery.Config
	replace  replace.Config
	fleets   []fleets.Case
}

// part is one part of the benchmark.
type part struct {
	name    string
	measure func(context.Context, *scenario.Stage) (report.Table, error)
}

// parts are in the order in which they run.
func (b *bench) parts() []part {
	return []part{{"claims", b.measureClaims}, {"held", b.measureHeld}, {"fleet", b.measureFleets}, {"replace", b.measureReplace}, {"recovery", b.measureRecovery}}
}

func (b *bench) names() (all []string) {
	for _, p := range b.parts() {
		all = append(all, p.name)
	}
	return all
}

func (b *bench) choose(name string) error {
	if !slices.Contains(b.names(), name) {
		return fmt.Errorf("the parts are %s", strings.Join(b.names(), ", "))
	}
	b.part = name
	return nil
}

func (b *bench) play(ctx context.Context, stage *scenario.Stage) error {
	measured := 0
	for _, p := range b.parts() {
		if b.part != "" && b.part != p.name {
			continue
		}
		table, err := p.measure(ctx, stage)
		if err != nil {
			return err
		}
		if err := table.Print(stage.Out); err != nil {
			return err
		}
		if b.folder != "" {
			path, err := table.Write(ctx, b.folder)
			if err != nil {
				return err
			}
			stage.Say("written to %s", path)
		}
		measured++
	}
	fmt.Fprintf(stage.Out, "\nbench: %d of %d parts measured\n", measured, len(b.parts()))
	return nil
}

func (b *bench) measureClaims(ctx context.Context, stage *scenario.Stage) (report.Table, error) {
	c := b.claims
	c.Kube, c.Progress, c.Say = stage.Kube, stage.Progress, stage.Say
	return claims.Measure(ctx, c)
}

func (b *bench) measureHeld(ctx context.Context, stage *scenario.Stage) (report.Table, error) {
	c := b.held
	c.Kube, c.Progress, c.Say = stage.Kube, stage.Progress, stage.Say
	return held.Measure(ctx, c)
}

func (b *bench) measureFleets(ctx context.Context, stage *scenario.Stage) (report.Table, error) {
	return fleets.Measure(ctx, fleets.Config{Stage: stage, Cases: b.fleets, Alternatives: alternatives.All(), Portlease: fleet.Measure})
}

func (b *bench) measureRecovery(ctx context.Context, stage *scenario.Stage) (report.Table, error) {
	c := b.recovery
	c.Kube, c.Progress, c.Say = stage.Kube, stage.Progress, stage.Say
	c.Crash = func(ctx context.Context, pods int) (fleet.Crash, error) { return fleet.MeasureCrash(ctx, stage, pods) }
	return recovery.Measure(ctx, c)
}

func (b *bench) measureReplace(ctx context.Context, stage *scenario.Stage) (report.Table, error) {
	c := b.replace
	c.Stage = stage
	return replace.Measure(ctx, c)
}

// numbers reads growing numbers, such as "1000,5000".
func numbers(text string) (all []int, err error) {
	most := 0
	for one := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n <= most {
			return nil, fmt.Errorf("%q is not a number that is larger than the one before it", one)
		}
		most, all = n, append(all, n)
	}
	return all, nil
}
