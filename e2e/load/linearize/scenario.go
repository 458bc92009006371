// Package linearize checks that the claims API is linearizable. Fifty pods claim,
// renew, report collisions and release at once through three allocator replicas, which
// are killed, paused and cut off meanwhile. Each history of calls is checked against a
// sequential model; see package spec. To show that the check works, the rounds are
// first played on two systems that are broken on purpose; see package mutant.
package linearize

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/linearize/mutant"
	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// Linearize plays the mutants and then rounds on the real system.
var Linearize = scenario.Scenario{
	Name:    "linearize",
	Summary: "check that histories of concurrent claims are linearizable",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		rounds := flags.Int("rounds", 100, "how many histories to check")
		seed := scenario.SeedFlag(flags)
		return func(ctx context.Context, stage *scenario.Stage) error {
			return linearize(ctx, stage.Kube, *rounds, seed(), stage.Out)
		}
	},
}

func linearize(ctx context.Context, kube *kubeapi.API, rounds int, seed uint64, out io.Writer) error {
	fmt.Fprintf(out, "linearize: seed %d\n", seed)
	for _, m := range mutants {
		if err := m.mustFail(ctx, kube, seed, out); err != nil {
			return err
		}
	}
	violations, err := clean(ctx, kube, nil, rounds, seed, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "linearize: %d rounds, %d violations\n", rounds, violations)
	if violations > 0 {
		return errors.New("the claims API is not linearizable")
	}
	return nil
}

// decideLimit is how long the check of one object may take. Objects are small, so only
// a history that is wrong in a complicated way needs it.
const decideLimit = 20 * time.Second

// closeLimit is how long closing a system may take.
const closeLimit = 2 * time.Minute

// clean plays rounds on a correct system. It stops at the first violation.
func clean(ctx context.Context, kube *kubeapi.API, door rig.KubeDoor, rounds int, seed uint64, out io.Writer) (violations int, err error) {
	var logs bytes.Buffer
	c, err := newSystem(ctx, kube, seed, door, &logs)
	if err != nil {
		return 0, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		if err != nil || violations > 0 {
			err = errors.Join(err, c.rig.Abandon(closing))
			return
		}
		err = c.rig.Close(closing)
	}()
	var total tally
	for n := 1; n <= rounds; n++ {
		began := time.Now()
		h, err := c.play(ctx, n)
		failed := spec.Check(h, decideLimit)
		total.add(h, time.Since(began))
		for _, v := range failed {
			fmt.Fprintf(out, "linearize: violation in round %d: %v\n", n, v)
		}
		if len(failed) > 0 {
			c.rig.DumpLogs()
			return len(failed), keep(failed, logs.Bytes(), out)
		}
		if err == nil {
			err = c.waitIdle(ctx)
		}
		if err != nil {
			return 0, fmt.Errorf("round %d: %w", n, err)
		}
		if n%10 == 0 || n == rounds {
			fmt.Fprintf(out, "linearize: %d rounds so far: %v\n", n, total)
		}
	}
	return 0, nil
}

// broken is a system with one part of the protocol taken out.
type broken struct {
	name string
	door rig.KubeDoor
	// within is how many rounds it may take to find a violation.
	within int
}

var mutants = []broken{
	{"blind-update", mutant.BlindUpdate, 20},
	{"no-claim-lease", mutant.NoClaimLease, 5},
}

// mustFail plays rounds on a broken system until the check finds a violation.
func (b broken) mustFail(ctx context.Context, kube *kubeapi.API, seed uint64, out io.Writer) (err error) {
	c, err := newSystem(ctx, kube, seed, b.door, nil)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		err = errors.Join(err, c.rig.Abandon(closing))
	}()
	c.patience = 30 * time.Second // it may never come to rest
	for n := 1; n <= b.within; n++ {
		h, err := c.play(ctx, n)
		for _, v := range spec.Check(h, decideLimit) {
			if !v.Undecided {
				fmt.Fprintf(out, "linearize: mutant %s: violation found in round %d\n", b.name, n)
				return nil
			}
		}
		if err == nil {
			err = c.waitIdle(ctx)
		}
		if err != nil {
			return fmt.Errorf("mutant %s: round %d: %w", b.name, n, err)
		}
	}
	return fmt.Errorf("mutant %s: not noticed within %d rounds", b.name, b.within)
}

// keep writes drawings of the violations and the replicas' logs to a temporary folder.
func keep(failed []*spec.Verdict, logs []byte, out io.Writer) error {
	folder, err := os.MkdirTemp("", "portlease-linearize-")
	if err != nil {
		return fmt.Errorf("making a folder for the violation: %w", err)
	}
	var errs []error
	for n, v := range failed {
		errs = append(errs, v.Draw(filepath.Join(folder, fmt.Sprintf("violation-%d.html", n+1))))
	}
	errs = append(errs, os.WriteFile(filepath.Join(folder, "logs.txt"), logs, 0o600))
	fmt.Fprintf(out, "linearize: drawings and logs are in %s\n", folder)
	return errors.Join(errs...)
}
