// Package app wires the agent: it builds the clients of the allocator, AWS and the
// API server, hands them to the lifecycle, and serves probes and the local API
// meanwhile. Tests start the whole process by Run.
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

// ErrSetting is a setting that does not work; its text names the setting.
var ErrSetting = errors.New("the agent cannot start")

// Dependencies can be replaced by tests. Those that are zero are made from Config, the
// AWS SDK's own configuration and the system's clock.
type Dependencies struct {
	// Listener serves probes and health checks. Run closes it.
	Listener net.Listener
	// Local serves the game server and the preStop hook. Run closes it.
	Local net.Listener
	// Allocator is the transport of calls to the allocator.
	Allocator http.RoundTripper
	AWS       *aws.Config
	Clock     clock.Clock
	// Jitter gives numbers in [0,1).
	Jitter func() float64
	// Hurry cuts draining short once it is closed.
	Hurry <-chan struct{}
}

// Run runs the agent until ctx is over, and then releases its claim. It returns nil
// after that, and ErrSetting when it cannot start.
func Run(ctx context.Context, c Config, deps Dependencies, log *slog.Logger) error {
	log.InfoContext(ctx, "agent starting", "version", daemon.Version(), "holder", c.Pod.Namespace+"/"+c.Pod.Name)
	if err := deps.complete(ctx, c); err != nil {
		return fmt.Errorf("%w: %w", ErrSetting, err)
	}
	set := metrics.NewSet()
	board := new(announce.Board)
	agent, err := assemble(c, deps, board, set, log)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrSetting, err), deps.Listener.Close(), deps.Local.Close())
	}
	remembered := markerIn(c.Dir)
	if err := remembered.restore(agent.Signals); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrSetting, err), deps.Listener.Close(), deps.Local.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	// Health checks are served until the release is over: players may still play.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	public := daemon.Server{Handler: routes(agent, set), Log: log}
	group.Go(func() error { return public.Run(serving, deps.Listener) })
	private := daemon.Server{Handler: local(agent, board, remembered, log), Log: log}
	group.Go(func() error { return private.Run(serving, deps.Local) })
	group.Go(func() error {
		defer stop()
		return agent.Run(ctx, deps.Hurry)
	})
	if credentials := deps.AWS.Credentials; credentials != nil {
		// Fetch them while the claim is requested. An error repeats with the first call to
		// AWS, which reports it.
		group.Go(func() error {
			_, _ = credentials.Retrieve(ctx)
			return nil
		})
	}
	err = group.Wait()
	log.InfoContext(serving, "agent stopped")
	return err
}

func assemble(c Config, deps Dependencies, board *announce.Board, set *metrics.Set, log *slog.Logger) (*lifecycle.Agent, error) {
	allocator, err := client.New(client.Config{
		URL: c.AllocatorURL, TokenFile: c.TokenFile, CAFile: c.AllocatorCA, Transport: deps.Allocator, Jitter: deps.Jitter, Log: log,
	})
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(deps.Listener.Addr().String())
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
		Listens:   func() (bool, error) { return (&sockets.Table{Dir: procNet, IP: c.Pod.IP}).Any(c.Ports) },
		Game:      c.Health.look(c.Pod.IP, c.Ports),
		Allocator: allocator, LoadBalancer: elb.New(*deps.AWS, log),
		Files: reporter.Announcers{announce.Files{Dir: c.Dir}, board}, OwnPod: ownpod.Silent{}, Events: ownpod.Silent{},
		// The memory for starting and binding is not needed again for hours.
		OnHolding: debug.FreeOSMemory,
		Clock:     deps.Clock, Jitter: deps.Jitter, Metrics: set, Log: log,
	}
	if c.Kube.URL != NoKube {
		writer, err := ownpod.New(c.Kube, c.Pod, deps.Clock.Now)
		if err != nil {
			return nil, err
		}
		cfg.OwnPod, cfg.Events = writer, writer
	}
	return lifecycle.New(cfg), nil
}

func routes(agent *lifecycle.Agent, set *metrics.Set) http.Handler {
	check := func(probe func() error) http.Handler {
		return daemon.Probe(func(context.Context) error { return probe() })
	}
	mux := http.NewServeMux()
	mux.Handle("GET /startupz", check(agent.Started))
	mux.Handle("GET /readyz", check(agent.Ready))
	mux.Handle("GET /livez", check(agent.Live))
	// A load balancer whose only target is unhealthy forwards to it all the same. This
	// decides what AWS reports of the pod, not whether players get through.
	mux.HandleFunc("GET "+api.HealthPath, func(w http.ResponseWriter, r *http.Request) {
		err := agent.HealthCheck(byLoadBalancer(r))
		daemon.Probe(func(context.Context) error { return err }).ServeHTTP(w, r)
	})
	mux.Handle("GET /metrics", daemon.Metrics(set))
	return mux
}

// complete makes the dependencies that were not given.
func (d *Dependencies) complete(ctx context.Context, c Config) error {
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
		return errors.New("the AWS region is unknown: set AWS_REGION")
	}
	if d.Listener == nil {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.HTTPAddress)
		if err != nil {
			return fmt.Errorf("-http-address (PORTLEASE_HTTP_ADDRESS) is %q, but the agent cannot listen on it: %w", c.HTTPAddress, err)
		}
		d.Listener = listener
	}
	if d.Local == nil {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.LocalAddress)
		if err != nil {
			err = fmt.Errorf("-%s (%s) is %q, but the agent cannot listen on it: %w", localFlag, localVariable, c.LocalAddress, err)
			return errors.Join(err, d.Listener.Close())
		}
		d.Local = listener
	}
	return nil
}
