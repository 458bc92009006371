// Package rig runs the whole system for tests and the demo: the emulated load
// balancers, a real API server, and allocator replicas and agents as processes. Its
// game-server pods exist in the API server, and each has a loopback address.
//
// The parts reach each other through links, which a test can cut. Check checks the
// guarantees of e2e/invariants against the ledger and the emulator. It also checks
// every answer of an allocator against its OpenAPI document.
package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api/contract"
)

// Config configures a Rig. Kube is required. The default of every other field is made
// for tests: short times and no data plane.
type Config struct {
	Kube *kubeapi.API
	// Replicas is the number of allocator replicas; default 1.
	Replicas int
	// LoadBalancers is the number of load balancers in the pool "default"; default 1.
	LoadBalancers int
	// ListenerPorts is the port range of each load balancer; default 30000-30009.
	ListenerPorts string

	ClaimDuration, RenewEvery, Cooldown, Sticky, AgentGrace, SweepEvery, AuditEvery time.Duration
	// InUseWindow is what the allocators are told of the emulator's Delays.InUse, and Propagation
	// of its delays after a creation. Both are 0 by default, as those delays are.
	InUseWindow, Propagation time.Duration

	// Budget is the pool file's section of that name, in YAML. The default is so
	// large, and refills so fast, that no call waits.
	Budget string

	// LogLevel is that of all parts; default debug.
	LogLevel string

	// AgentSettings are additional environment variables of the agents, each
	// NAME=value.
	AgentSettings []string

	// AgentPolicy is the file in deploy/iam that limits the agents' AWS calls. The
	// janitor's file then limits the replicas. If it is empty, all parts may make all
	// calls.
	AgentPolicy string

	// Pool is YAML that is added to the pool "default".
	Pool string

	// Alone omits the foreign listeners, for tests that need every listener.
	Alone bool

	// InProcess runs allocators and agents in this process. Tests can then stop them
	// and cut them off, but neither kill nor pause them.
	InProcess bool
	// AgentsInProcess runs only the agents in this process, which saves memory if they
	// are many.
	AgentsInProcess bool
	// DataPlane makes the load balancers listen and forward.
	DataPlane bool
	// Emulator changes the emulator's configuration.
	Emulator func(*elbemu.Config)
	// KubeDoor wraps the replicas' transport to the API server; nil leaves it as it
	// is.
	KubeDoor KubeDoor
	// Output receives the logs of all parts when Check or Close fails. Progress
	// receives progress lines. Both may be nil.
	Output, Progress io.Writer
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.ClaimDuration, 3*time.Second)
	set(&c.RenewEvery, time.Second)
	set(&c.Cooldown, time.Second)
	set(&c.Sticky, time.Minute)
	set(&c.AgentGrace, 5*time.Second)
	set(&c.SweepEvery, 200*time.Millisecond)
	set(&c.AuditEvery, time.Second)
	c.Replicas = max(c.Replicas, 1)
	c.LoadBalancers = max(c.LoadBalancers, 1)
	if c.ListenerPorts == "" {
		c.ListenerPorts = "30000-30009"
	}
	if c.Budget == "" {
		c.Budget = "budget:\n  mutating: {burst: 1000, perSecond: 100000}\n  registration: {burst: 1000, perSecond: 100000}\n  describe: {burst: 1000, perSecond: 100000}\n  all: {burst: 1000, perSecond: 100000}\n"
	}
	c.LogLevel = cmp.Or(c.LogLevel, "debug")
	if c.Output == nil {
		c.Output = io.Discard
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
}

// Rig is a running system. Its methods may be called concurrently.
type Rig struct {
	Config
	Emulator *elbemu.Emulator
	// Admin has all rights in the API server.
	Admin kubernetes.Interface
	// Namespace is the allocator's, Games the game servers'.
	Namespace, Games string
	// LoadBalancerARNs are those of the pool, in order.
	LoadBalancerARNs []string
	// Ledger is the id of this installation.
	Ledger   string
	Replicas []*Replica

	dir      string
	emulator *http.Server
	// kube carries the agents' calls to the API server.
	kube      http.RoundTripper
	identity  *identity
	programs  programs
	addresses addresses
	history   *history
	contract  *contract.Contract
	// foreign has the foreign resources at the start, which must not change.
	foreign invariants.Foreign
	faults  faults

	mu sync.Mutex
	// pods has every pod ever created, in order.
	pods []*Pod
	// links has every link, for Close.
	links []*link
	// proxies are the running servers of KubeDoor.
	proxies []*http.Server
}

// New starts everything and returns once the allocator serves. The caller must call
// Close.
func New(ctx context.Context, c Config) (_ *Rig, err error) {
	c.defaults()
	r := &Rig{Config: c}
	defer func() {
		if err != nil {
			r.DumpLogs()
			err = errors.Join(err, r.stop(context.WithoutCancel(ctx)))
		}
	}()
	if r.dir, err = os.MkdirTemp("", "portlease-rig-"); err != nil {
		return nil, fmt.Errorf("making the rig's folder: %w", err)
	}
	if r.programs, err = buildPrograms(ctx, c.Progress); err != nil {
		return nil, err
	}
	if err = r.addresses.reserve(); err != nil {
		return nil, err
	}
	serving := make([]netip.Addr, c.Replicas)
	for i := range serving {
		if serving[i], err = r.addresses.next(); err != nil {
			return nil, err
		}
	}
	if r.identity, err = newIdentity(r.dir, serving); err != nil {
		return nil, err
	}
	if r.Admin, err = kubernetes.NewForConfig(c.Kube.AdminConfig()); err != nil {
		return nil, fmt.Errorf("making the admin's client: %w", err)
	}
	if r.kube, err = rest.TransportFor(rest.AnonymousClientConfig(c.Kube.AdminConfig())); err != nil {
		return nil, fmt.Errorf("making the way to the API server: %w", err)
	}
	if err = r.startEmulator(ctx); err != nil {
		return nil, err
	}
	if err = r.install(ctx); err != nil {
		return nil, err
	}
	if r.Ledger, err = kubelease.ID(ctx, r.Admin, r.Namespace); err != nil {
		return nil, err
	}
	if err = r.admit(ctx); err != nil {
		return nil, err
	}
	if r.contract, err = contract.New(); err != nil {
		return nil, err
	}
	if r.history, err = r.watch(); err != nil {
		return nil, err
	}
	r.faults.watchListeners(r.checkLicense)
	for i, address := range serving {
		replica, err := r.newReplica(ctx, i, address)
		if err != nil {
			return nil, err
		}
		r.Replicas = append(r.Replicas, replica)
		if err := replica.Start(ctx); err != nil {
			return nil, err
		}
	}
	for _, replica := range r.Replicas {
		if err := replica.WaitReady(ctx); err != nil {
			return nil, err
		}
	}
	return r, r.WaitPool(ctx)
}

// Pods gives every pod ever created, in order.
func (r *Rig) Pods() []*Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Pod(nil), r.pods...)
}

func (r *Rig) allLinks() []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*link(nil), r.links...)
}

const (
	region   = "us-east-1"
	account  = "000000000000"
	patience = 60 * time.Second
)
