// The allocator gives game-server pods listener ports on shared network load
// balancers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // the image has no CA certificates
	"k8s.io/klog/v2"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/shared/daemon"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// checkCommand as the first argument runs a check instead of the allocator.
const checkCommand = "check"

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	check := len(args) > 0 && args[0] == checkCommand
	if check {
		args = args[1:]
	}
	c, err := app.Parse(args, getenv, stdout)
	if errors.Is(err, daemon.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "portlease-allocator:", err) // stderr is the last resort
		return 2
	}
	log, err := daemon.NewLogger(stderr, c.LogLevel)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "portlease-allocator:", err)
		return 2
	}
	tune(getenv, c.MemoryLimit)
	klog.SetSlogLogger(log) // client-go logs through klog
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if check {
		if err := app.Check(ctx, c, app.Doors{}, stdout); err != nil {
			_, _ = fmt.Fprintln(stderr, "portlease-allocator:", err)
			return 1
		}
		return 0
	}
	if err := app.Run(ctx, c, app.Doors{}, log); err != nil {
		log.Error("allocator failed", "err", err)
		return 1
	}
	return 0
}
