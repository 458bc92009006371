// Soak lets the whole system live for a while: a real API server, three allocators
// and up to a hundred agents as processes, against emulated load balancers with
// token buckets that are never empty. Agents and allocators are killed, paused, cut
// off and restarted, pods come, crash and go, gracefully and not, and some of them
// while their agents live on. All the while the promises are held against the ledger
// and the load balancers. At the end the faults stop: every pod that lives must be
// bound, and once all are deleted nothing may be left over.
//
// Whatever is random comes from one seed; what processes make of it differs from
// run to run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

func main() { os.Exit(run()) }

func run() int {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // the allocators' elections are of no interest here
	c := course{out: os.Stdout}
	flag.Func("for", "how long faults go on, as in 90s or 10m (default 10m)", c.last)
	flag.IntVar(&c.agents, "agents", 100, "how many agents live at once, at most")
	flag.Uint64Var(&c.seed, "seed", 0, "seed of everything that is random here; 0 draws one")
	flag.StringVar(&c.folder, "logs", "", "folder for the history and all logs, which is then kept; without it, they are kept if something was wrong")
	flag.Parse()
	if c.given == "" {
		c.given, c.length = "10m", 10*time.Minute
	}
	if c.agents < 1 {
		fmt.Fprintln(os.Stderr, "soak: -agents must be at least 1")
		return 2
	}
	for c.seed == 0 {
		c.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who asks twice does not wait for the end
	if err := play(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "soak: failed:", err)
		return 1
	}
	return 0
}

// course is what a soak is told.
type course struct {
	// given is length as it was written.
	given  string
	length time.Duration
	agents int
	seed   uint64
	folder string
	out    io.Writer
}

func (c *course) last(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("it must be more than 0")
	}
	c.given, c.length = text, d
	return err
}

// play starts an API server for one soak. The end of ctx ends the faults, not the
// soak.
func play(ctx context.Context, c course) (err error) {
	fmt.Fprintln(c.out, "- starting a Kubernetes API server (etcd and kube-apiserver; the first time they are built, which takes minutes)")
	kube, err := kubeapi.Start(ctx, kubeapi.Config{Progress: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kube.Close()) }()
	defer func() { err = errors.Join(err, rig.RemovePrograms()) }()
	s, err := newSoak(ctx, kube, c)
	if err != nil {
		return err
	}
	return s.run(ctx)
}
