// Package site is an installation for benchmarks. Its allocators are processes that reach
// the API server directly, its pods are objects without agents, and its ledger is filled
// at once.
package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/elb"
)

const (
	// PortsEach is how many listener ports a load balancer has: AWS's default quota.
	PortsEach = 50
	firstPort = 30000
	// vpc is the rig's.
	vpc = "vpc-rig"
	// forever is longer than any benchmark. Nothing expires, and nobody expects the
	// invented bindings of filled ledgers to be in AWS.
	forever = 24 * time.Hour
	// memoryLimit is that of the allocator's container, as the chart sets it.
	memoryLimit = 256 << 20
	// together is how many objects are written concurrently.
	together = 16
)

// AWSBudget is the pool file's section for what AWS allows by default.
const AWSBudget = "budget: {}\n"

// Config configures a Site; all but Budget and AuditEvery is required.
type Config struct {
	Kube *kubeapi.API
	// Replicas and LoadBalancers are the most that Serve can be asked for.
	Replicas, LoadBalancers int
	// Budget is the pool file's section of that name. The default limits nothing.
	Budget string
	// AuditEvery is the time between two audits; 0 means the default of an installation.
	AuditEvery time.Duration
	Progress   io.Writer
}

// Site is a running installation.
type Site struct {
	*rig.Rig
	// Rights are those of the allocators, without a rate limit.
	Rights *rest.Config
	// Objects reads and writes everything, without a rate limit.
	Objects kubernetes.Interface

	// elb makes bindings, as agents do.
	elb *elb.Client
	dir string
	// addresses counts the IPs of pods; filled counts the claims of the ledger.
	addresses, filled int
}

// New starts an installation that serves nothing until Serve. The caller must call Close.
func New(ctx context.Context, c Config) (_ *Site, err error) {
	s := new(Site)
	if s.Rig, err = rig.New(ctx, rig.Config{
		Kube: c.Kube, Replicas: c.Replicas, LoadBalancers: c.LoadBalancers, Alone: true,
		ListenerPorts: fmt.Sprintf("%d-%d", firstPort, firstPort+PortsEach-1), Cooldown: 2 * time.Minute,
		// The defaults of a real installation, except that claims do not expire.
		ClaimDuration: forever, RenewEvery: 30 * time.Second, SweepEvery: 2 * time.Second, AuditEvery: cmp.Or(c.AuditEvery, 30*time.Second),
		AgentGrace: 30 * time.Second, LogLevel: "info", Budget: c.Budget,
		Emulator: func(e *elbemu.Config) {
			e.Quotas.LoadBalancers, e.Quotas.TargetGroups = c.LoadBalancers, (c.LoadBalancers+1)*PortsEach // the rig has some, too
			// The IPs of pods, which are no loopback addresses here.
			e.VPCs[0].CIDR = netip.MustParsePrefix("10.0.0.0/8")
			e.Subnets[0].CIDR, e.Subnets[1].CIDR = netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("10.128.0.0/9")
		},
		Output: io.Discard, Progress: c.Progress,
	}); err != nil {
		return nil, err
	}
	if err = s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// open makes the clients, and the kubeconfig of the allocators.
func (s *Site) open(ctx context.Context) (err error) {
	if s.Objects, err = kubernetes.NewForConfig(binary(s.Kube.AdminConfig())); err != nil {
		return fmt.Errorf("making the client of all objects: %w", err)
	}
	rights, err := s.Kube.ServiceAccount(ctx, s.Namespace, "portlease-allocator")
	if err != nil {
		return err
	}
	s.Rights = binary(rights)
	s.elb = elb.New(s.AWS(), slog.New(slog.DiscardHandler))
	if s.dir, err = os.MkdirTemp("", "portlease-bench-"); err != nil {
		return fmt.Errorf("making the folder of the kubeconfig: %w", err)
	}
	return s.Kube.Kubeconfig(s.kubeconfig(), rights)
}

func (s *Site) kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// binary makes a client use the encoding that the allocator uses.
func binary(c *rest.Config) *rest.Config {
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.DisableCompression = true
	return c
}

// Serve restarts the installation with so many replicas and load balancers, and more flags
// of the allocator, and waits until it is ready. A rig's link to the API server would cost this process more than the
// call costs the allocator, so the replicas do without.
func (s *Site) Serve(ctx context.Context, replicas, loadBalancers int, flags ...string) ([]*rig.Replica, error) {
	for _, a := range s.Replicas {
		if err := a.Stop(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.SetPools(s.PoolText(s.LoadBalancerARNs[:loadBalancers], "")); err != nil {
		return nil, err
	}
	running := s.Replicas[:replicas]
	for _, a := range running {
		if err := a.Configure(append([]string{"-kubeconfig", s.kubeconfig(), "-target-group-lag", forever.String(), "-memory-limit", strconv.Itoa(memoryLimit)}, flags...)...); err != nil {
			return nil, err
		}
		if err := a.Start(ctx); err != nil {
			return nil, err
		}
	}
	for _, a := range running {
		if err := a.WaitReady(ctx); err != nil {
			return nil, err
		}
		if err := a.WaitPool(ctx); err != nil {
			return nil, err
		}
	}
	return running, nil
}

// Close stops everything. It may be called on a Site that was not opened completely.
func (s *Site) Close(ctx context.Context) error {
	err := s.Abandon(ctx)
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
