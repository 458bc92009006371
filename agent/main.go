// The agent gives the game-server pod it runs in a public port on a shared
// network load balancer.
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

	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/daemon"
)

func main() {
	tune(os.Getenv)
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "prestop" {
		return preStop(args[1:], getenv, stdout, stderr)
	}
	c, err := app.Parse(args, getenv, stdout)
	if errors.Is(err, daemon.ErrHelp) {
		return 0
	}
	if err != nil {
		return refuse(stderr, err)
	}
	log, err := daemon.NewLogger(stderr, c.LogLevel)
	if err != nil {
		return refuse(stderr, err)
	}
	klog.SetSlogLogger(log) // client-go logs through klog
	ctx, hurry := onSignals(context.Background())
	err = app.Run(ctx, c, app.Dependencies{Hurry: hurry}, log)
	switch {
	case errors.Is(err, app.ErrSetting):
		return refuse(stderr, err)
	case err != nil:
		log.Error("agent failed", "err", err)
		return 1
	}
	return 0
}

func preStop(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	err := app.PreStop(context.Background(), args, getenv, stdout)
	if err != nil && !errors.Is(err, daemon.ErrHelp) {
		_, _ = fmt.Fprintln(stderr, "portlease-agent prestop:", err) // there is no log
		return 1
	}
	return 0
}

func refuse(stderr io.Writer, err error) int {
	_, _ = fmt.Fprintln(stderr, "portlease-agent:", err) // there is no log
	return 2
}

// onSignals returns a context that ends with the first SIGTERM or interrupt, and a
// channel that the second one closes.
func onSignals(ctx context.Context) (context.Context, <-chan struct{}) {
	ctx, stop := context.WithCancel(ctx)
	hurry := make(chan struct{})
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-received
		stop()
		<-received
		close(hurry)
	}()
	return ctx, hurry
}
