// Package app wires the allocator: it builds the clients of Kubernetes and AWS, gives
// them to the parts that decide, and runs the loops. A test starts the whole process
// with Run.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/certs"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/conns"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/metrics"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/daemon"
	"github.com/portlease/portlease/shared/elb"
)

// process is one running allocator.
type process struct {
	Config
	log     *slog.Logger
	metrics *metrics.Metrics
	kube    clients
	// apiServer knows whether the API server answers.
	apiServer apiProbe
	// crowded reports whether connections should be closed after each call.
	crowded func() bool
	// starting serves until api is set.
	starting http.Handler
	// api is the API once the ledger has been read; nil before.
	api atomic.Pointer[http.Handler]
	// leases is set with api.
	leases atomic.Pointer[kubelease.Leases]
	// limits are those of the AWS budget, from the pool file.
	limits atomic.Pointer[budget.Limits]
	// certificate is served; nil without TLS.
	certificate certs.Source
}

// Doors are the connections to the outside. The zero value opens those that Config and
// the AWS SDK's environment name; a test sets its own.
type Doors struct {
	// Listener serves the API. Run closes it.
	Listener net.Listener
	Kube     *rest.Config
	AWS      *aws.Config
}

// Run serves until ctx ends and then stops gracefully.
func Run(ctx context.Context, c Config, doors Doors, log *slog.Logger) error {
	file, text, err := poolfile.Read(c.PoolFile)
	if err != nil {
		return err
	}
	if err := doors.open(ctx, c); err != nil {
		return err
	}
	listener := doors.Listener
	kube, err := doors.clients()
	if err != nil {
		return err
	}
	p := &process{Config: c, log: log, metrics: metrics.New(), kube: kube}
	p.apiServer = apiProbe{ask: p.readLeaderLease, log: log}
	p.starting = httpapi.Starting(httpapi.Config{Observe: p.metrics.Request, Probes: p.probes(), Metrics: p.metrics.Handler(), Fleet: func() int { return 0 }, Now: time.Now, Log: log})
	limiter := conns.New(c.MaxConnections, time.Now, p.metrics.ConnectionClosed)
	p.metrics.Connections(limiter.Count)
	p.crowded = limiter.Crowded
	server := daemon.Server{Handler: p, ConnState: limiter.Track, Log: log}
	renew, err := p.openCertificate()
	if err != nil {
		return err
	}
	if p.certificate != nil {
		server.TLS = certs.ServerConfig(p.certificate)
	}
	log.InfoContext(ctx, "allocator started", "version", daemon.Version(), "listen", listener.Addr().String(), "namespace", c.Namespace, "pools", len(file.Pools))
	p.warnOfPools(ctx, file)
	if c.DryRun {
		log.WarnContext(ctx, "dry run: the janitor reclaims and deletes nothing")
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return renew(ctx) })
	group.Go(func() error { return server.Run(ctx, listener) })
	group.Go(func() error { return p.work(ctx, file, text, elb.New(*doors.AWS, log).Observed(p.metrics.AWSCall)) })
	err = group.Wait()
	log.InfoContext(context.WithoutCancel(ctx), "allocator stopped")
	return err
}

// openCertificate sets the certificate to serve, and gives the loop that renews it.
func (p *process) openCertificate() (renew func(context.Context) error, err error) {
	renew = func(context.Context) error { return nil }
	switch {
	case p.PlainHTTP:
		return renew, nil
	case p.TLSSecret == "":
		if p.certificate, err = certs.NewFiles(p.TLSCert, p.TLSKey, p.TLSCA, time.Now, p.log); err != nil {
			return nil, err
		}
	default:
		managed, err := certs.NewManaged(kubecerts.NewSecret(p.kube.main, p.Namespace, p.TLSSecret), p.servingNames(), time.Now, p.log)
		if err != nil {
			return nil, err
		}
		p.certificate, renew = managed, managed.Run
	}
	p.metrics.Certificate(p.certificate.NotAfter)
	return renew, nil
}

// open opens the doors that are not set.
func (d *Doors) open(ctx context.Context, c Config) error {
	if err := d.openKube(c); err != nil {
		return err
	}
	if err := d.openAWS(ctx); err != nil {
		return err
	}
	if d.Listener == nil {
		opened, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		d.Listener = opened
	}
	return nil
}

func (d *Doors) openAWS(ctx context.Context) error {
	if d.AWS == nil {
		found, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return fmt.Errorf("reading the AWS configuration: %w", err)
		}
		d.AWS = &found
	}
	if d.AWS.Region == "" {
		return errors.New("the AWS region is not known: set AWS_REGION")
	}
	return nil
}

// ServeHTTP serves the probes at once, and the API as soon as the ledger has been read.
func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.crowded() {
		w.Header().Set("Connection", "close")
	}
	if h := p.api.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	p.starting.ServeHTTP(w, r)
}

func (p *process) probes() map[string]http.Handler {
	return map[string]http.Handler{
		"/livez":  daemon.Probe(nil),
		"/readyz": daemon.Probe(p.ready),
	}
}

// ready reports that callers can trust the certificate, the ledger has been read, and the
// API server answers.
func (p *process) ready(ctx context.Context) error {
	if p.certificate != nil {
		if err := p.certificate.Ready(); err != nil {
			return err
		}
	}
	leases := p.leases.Load()
	if leases == nil {
		return errors.New("the ledger has not been read yet")
	}
	if err := p.apiServer.check(ctx); err != nil {
		return err
	}
	return leases.Ready()
}

// readLeaderLease is a request that the API server answers only if it can read the ledger.
func (p *process) readLeaderLease(ctx context.Context) error {
	_, err := p.kube.probes.CoordinationV1().Leases(p.Namespace).Get(ctx, kubelease.LeaderLease, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading lease %s: %w", kubelease.LeaderLease, err)
	}
	return nil
}

// ledgerID retries until the API server answers; it fails only when ctx ends.
func (p *process) ledgerID(ctx context.Context) (string, error) {
	const retry = 2 * time.Second
	for {
		id, err := kubelease.ID(ctx, p.kube.main, p.Namespace)
		if err == nil {
			return id, nil
		}
		p.log.WarnContext(ctx, "failed to read the ledger ID; retrying", "err", err)
		if err := daemon.Sleep(ctx, retry); err != nil {
			return "", err
		}
	}
}
