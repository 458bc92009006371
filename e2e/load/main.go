// Command load plays load scenarios on a whole installation: the real agents and
// allocators, a real Kubernetes API server, and emulated load balancers.
//
//	go run ./e2e/load --help
package main

import (
	"os"

	"github.com/portlease/portlease/e2e/load/bench"
	"github.com/portlease/portlease/e2e/load/benchagent"
	"github.com/portlease/portlease/e2e/load/crashtable"
	"github.com/portlease/portlease/e2e/load/demo"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/hostile"
	"github.com/portlease/portlease/e2e/load/linearize"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/load/soak"
)

// scenarios are all scenarios. To add one, write its package and enter it here.
var scenarios = []scenario.Scenario{
	demo.Demo,
	fleet.Start,
	fleet.Stop,
	soak.Soak,
	crashtable.CrashTable,
	linearize.Linearize,
	benchagent.BenchAgent,
	bench.Bench,
	hostile.Hostile,
}

func main() { os.Exit(scenario.Main(scenarios, os.Args[1:], os.Stdout, os.Stderr)) }
