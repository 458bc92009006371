// Package soak lets a whole installation live for a while: three allocators and up to
// a hundred agents, all of them processes, against emulated load balancers. Agents and
// allocators are killed, paused, cut off and restarted. Pods are created, crash, and
// are deleted, some of them while their agents live on.
//
// The invariants are checked against the ledger and the load balancers all the while.
// At the end the faults stop: every live pod must be bound, and once all pods are
// deleted nothing may be left over.
//
// All random choices come from one seed; how the processes react differs from run to
// run.
package soak

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// Soak plays for the length of -for. An interrupt ends the faults, not the checks.
var Soak = scenario.Scenario{
	Name:    "soak",
	Summary: "let agents and allocators live and die for a while, and check every invariant",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		c := config{given: "10m", length: 10 * time.Minute}
		flags.Func("for", "how long faults go on, such as 90s or 10m (default 10m)", c.parseLength)
		scenario.CountFlag(flags, &c.agents, "agents", 100, "how many agents live at once, at most")
		flags.StringVar(&c.folder, "logs", "", "folder for the history and all logs, which is kept; by default they are kept only if a check fails")
		seed := scenario.SeedFlag(flags)
		return func(ctx context.Context, stage *scenario.Stage) error {
			c.seed = seed()
			s, err := newSoak(ctx, stage, c)
			if err != nil {
				return err
			}
			return s.run(ctx)
		}
	},
}

// config is what the command line says.
type config struct {
	// given is length as it was written.
	given  string
	length time.Duration
	agents int
	seed   uint64
	folder string
}

func (c *config) parseLength(text string) (err error) {
	if c.length, err = time.ParseDuration(text); err == nil && c.length <= 0 {
		err = errors.New("it must be more than 0")
	}
	c.given = text
	return err
}
