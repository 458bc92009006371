// Package app wires the agent: it builds the doors to the allocator, AWS, the
// shared volume and the own pod, hands them to the lifecycle, and answers probes
// meanwhile. A test starts the whole process by Run.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/agent/sockets"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
	"github.com/portlease/portlease/shared/daemon"
	"github.com/portlease/portlease/shared/elb"
)

// ErrSetting is a setting that cannot be true; its text names it.
var ErrSetting = errors.New("the agent cannot start")

// Doors are the ways to the outside. The zero value opens the real ones: what
// Config names, the AWS SDK's own configuration, the system's clock.
type Doors struct {
	// Listener serves probes and health checks. Run closes it.
	Listener net.Listener
	// Local serves the game server and the preStop hook. Run closes it.
	Local net.Listener
	// Allocator carries the calls to it.
	Allocator http.RoundTripper
	AWS       *aws.Config
	Clock     clock.Clock
	// Jitter gives numbers in [0,1).
	Jitter func() float64
	// Hurry, once closed, cuts draining short.
	Hurry <-chan struct{}
}

// Run lives the pod's life until ctx is over, and then gives everything back. It
// returns nil after that, and ErrSetting when it could not begin.
func Run(ctx context.Context, c Config, doors Doors, log *slog.Logger) error {
	log.InfoContext(ctx, "agent starting", "version", daemon.Version(), "holder", c.Pod.Namespace+"/"+c.Pod.Name)
	if err := doors.open(ctx, c); err != nil {
		return fmt.Errorf("%w: %w", ErrSetting, err)
	}
	set := metrics.NewSet()
	board := new(announce.Board)
	agent, err := assemble(c, doors, board, set, log)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrSetting, err), doors.Listener.Close(), doors.Local.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	// Health checks are answered until the very end: players may still be on.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	public := daemon.Server{Handler: routes(agent, c, set), Log: log}
	group.Go(func() error { return public.Run(serving, doors.Listener) })
	private := daemon.Server{Handler: local(agent, board), Log: log}
	group.Go(func() error { return private.Run(serving, doors.Local) })
	group.Go(func() error {
		defer stop()
		return agent.Run(ctx, doors.Hurry)
	})
	if credentials := doors.AWS.Credentials; credentials != nil {
		// They are fetched while the claim is asked for. What goes wrong here goes wrong
		// with the first call to AWS, and is told then.
		group.Go(func() error {
			_, _ = credentials.Retrieve(ctx)
			return nil
		})
	}
	err = group.Wait()
	log.InfoContext(serving, "agent stopped")
	return err
}

func assemble(c Config, doors Doors, board *announce.Board, set *metrics.Set, log *slog.Logger) (*lifecycle.Agent, error) {
	allocator, err := client.New(client.Config{
		URL: c.AllocatorURL, TokenFile: c.TokenFile, CAFile: c.AllocatorCA, Transport: doors.Allocator, Jitter: doors.Jitter, Log: log,
	})
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(doors.Listener.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("reading the address of the listener: %w", err)
	}
	healthPort, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, fmt.Errorf("reading the port of the listener: %w", err)
	}
	cfg := lifecycle.Config{
		Pod: c.Pod, Pool: c.Pool, Ports: c.Ports, HealthPort: healthPort,
		Drain: c.Drain, Deregister: c.Deregister, ReleaseTimeout: c.ReleaseTimeout,
		Listens:   func() (bool, error) { return sockets.Table{Dir: "/proc/self/net", IP: c.Pod.IP}.Any(c.Ports) },
		Allocator: allocator, LoadBalancer: elb.New(*doors.AWS, log),
		Files: reporter.Announcers{announce.Files{Dir: c.Dir}, board}, OwnPod: ownpod.Silent{}, Events: ownpod.Silent{},
		// The memory for starting and binding is not needed again for hours.
		OnHolding: debug.FreeOSMemory,
		Clock:     doors.Clock, Jitter: doors.Jitter, Metrics: set, Log: log,
	}
	if c.Kube.URL != NoKube {
		writer, err := ownpod.New(c.Kube, c.Pod, doors.Clock.Now)
		if err != nil {
			return nil, err
		}
		cfg.OwnPod, cfg.Events = writer, writer
	}
	return lifecycle.New(cfg), nil
}

func routes(agent *lifecycle.Agent, c Config, set *metrics.Set) http.Handler {
	check := func(ask func() error) http.Handler {
		return daemon.Probe(func(context.Context) error { return ask() })
	}
	mux := http.NewServeMux()
	mux.Handle("GET /startupz", check(agent.Started))
	mux.Handle("GET /readyz", check(agent.Ready))
	mux.Handle("GET /livez", check(agent.Live))
	// A load balancer that finds its only target unhealthy sends to it all the
	// same: this decides what it says of the pod, and not who gets through.
	mux.Handle("GET "+api.HealthPath, daemon.Probe(func(ctx context.Context) error {
		if err := agent.GameAnswers(); err != nil {
			return err
		}
		return c.Health.check(ctx, c.Pod.IP)
	}))
	mux.Handle("GET /metrics", daemon.Metrics(set))
	return mux
}

// open opens the doors that were not given.
func (d *Doors) open(ctx context.Context, c Config) error {
	if d.Clock.Now == nil {
		d.Clock = clock.Clock{Now: time.Now, Sleep: daemon.Sleep, Timeout: context.WithTimeout}
	}
	if d.Jitter == nil {
		d.Jitter = rand.Float64
	}
	if d.AWS == nil {
		found, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return fmt.Errorf("reading the AWS configuration: %w", err)
		}
		d.AWS = &found
	}
	if d.AWS.Region == "" {
		return errors.New("no AWS region is known: set AWS_REGION")
	}
	if d.Listener == nil {
		opened, err := new(net.ListenConfig).Listen(ctx, "tcp", c.HTTPAddress)
		if err != nil {
			return fmt.Errorf("-http-address (PORTLEASE_HTTP_ADDRESS) is %q, which cannot be listened on: %w", c.HTTPAddress, err)
		}
		d.Listener = opened
	}
	if d.Local == nil {
		opened, err := new(net.ListenConfig).Listen(ctx, "tcp", c.LocalAddress)
		if err != nil {
			err = fmt.Errorf("-%s (%s) is %q, which cannot be listened on: %w", localFlag, localVariable, c.LocalAddress, err)
			return errors.Join(err, d.Listener.Close())
		}
		d.Local = opened
	}
	return nil
}
