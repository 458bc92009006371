// Package hostile plays every attack of a bad neighbor, and every breakage of a broken
// one, beside honest pods. It shows what the attacker got, and whether the honest pods
// were bound as fast as without the attack and lost packets.
//
// All parts are real: the allocators and the API server run as processes, attackers
// hold tokens that the API server bound to their pods, call from their pods' addresses,
// and reach AWS under the IAM policy of deploy/iam with their pods' session tags. AWS
// is the emulator with the token buckets that AWS publishes, refilled faster.
package hostile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// Hostile is the scenario.
var Hostile = scenario.Scenario{
	Name:    "hostile",
	Summary: "play every attack and breakage of bad neighbors beside honest pods, and show what the attackers got",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		c := new(config)
		scenario.CountFlag(flags, &c.pods, "pods", 20, "number of honest pods")
		flags.StringVar(&c.only, "only", "", "play only the cases whose names contain this")
		flags.StringVar(&c.logs, "logs", "", "folder to write all logs to")
		return c.play
	},
}

type config struct {
	pods       int
	only, logs string
}

const (
	// speed is how many times faster than at AWS the token buckets fill.
	speed = 3
	// mostOfQuiet is how many times longer than in the quiet run the slowest honest pod
	// may take.
	mostOfQuiet = 1.5
	// closeLimit is how long the end may take.
	closeLimit = 2 * time.Minute
)

// play plays the quiet run and then each round, and prints the table.
func (c *config) play(ctx context.Context, stage *scenario.Stage) (err error) {
	chosen := matching(rounds(), c.only)
	if len(chosen) == 0 {
		return fmt.Errorf("no case has a name with %q", c.only)
	}
	w, err := newWorld(ctx, stage, *c)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		err = errors.Join(err, w.close(closing))
	}()
	t, err := w.playAll(ctx, chosen)
	if err != nil {
		return err
	}
	return t.print(stage.Out)
}
