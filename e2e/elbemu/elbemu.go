// Package elbemu emulates the Elastic Load Balancing v2 API for Network Load
// Balancers, so that the whole system can be tested without an AWS account.
//
// It refuses what AWS refuses: a second listener on a port, repeated creates with
// different settings, calls over a quota or a rate, invalid parameters. The README lists
// every fact with its grade. A switch covers each unverified fact that matters (see
// [Switches]). Unknown calls and parameters are errors; none is ignored.
//
// The state is one value behind one mutex. Time passes only through Config.Now, so a
// simulation with a fake clock behaves like a real run. With Config.DataPlane the emulator
// also listens on loopback addresses, forwards TCP and UDP to the targets and really
// checks their health.
//
// The message texts may differ from those of AWS. The codes match where a fact says so.
package elbemu

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"

	"github.com/portlease/portlease/e2e/elbemu/dataplane"
)

// Emulator emulates Elastic Load Balancing v2 of one AWS account in one Region. It is an
// http.Handler and an http.RoundTripper.
type Emulator struct {
	cfg     Config
	log     *slog.Logger
	closing context.Context // ends when Close begins, and ends hanging calls
	stop    context.CancelFunc
	forward *forwarding // nil without a data plane

	mu         sync.Mutex // guards the fields below
	state      *state
	fault      func(Call) Fault
	calls      callLog
	arrivals   uint64                // number of calls so far; the Seq of the latest one
	principals map[string]*principal // by access key ID
}

// New returns an emulator. The zero Config works. Without Config.DataPlane it starts no
// goroutine. An error names the invalid setting.
func New(cfg Config) (*Emulator, error) {
	cfg, err := cfg.resolved()
	if err != nil {
		return nil, fmt.Errorf("configuring elbemu: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Emulator{cfg: cfg, log: cfg.Log, closing: ctx, stop: cancel, principals: map[string]*principal{}}
	e.state = newState(&e.cfg, rand.New(cfg.Rand))
	if cfg.DataPlane {
		if err := e.startForwarding(); err != nil {
			cancel()
			return nil, err
		}
	}
	return e, nil
}

// Address returns the loopback address of the load balancer. It returns false if the load
// balancer does not exist or there is no data plane.
func (e *Emulator) Address(loadBalancerARN string) (netip.Addr, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lb, ok := e.state.loadBalancers[loadBalancerARN]
	if !ok || !lb.address.IsValid() {
		return netip.Addr{}, false
	}
	return lb.address, true
}

// Datagrams returns the counts of every listener that the data plane has served, by ARN.
// It returns nil without a data plane.
func (e *Emulator) Datagrams() map[string]dataplane.Datagrams {
	if e.forward == nil {
		return nil
	}
	return e.forward.plane.Datagrams()
}

// Close ends hanging calls, closes all sockets and waits for the data plane's goroutines.
// Calls after Close still work on the state.
func (e *Emulator) Close() error {
	e.stop()
	if e.forward != nil {
		return e.forward.close()
	}
	return nil
}
