// Package elbemu emulates the Elastic Load Balancing v2 API for Network Load
// Balancers, so that the whole system can be tested without an AWS account.
//
// It refuses what AWS refuses: one listener for each port, idempotent creates
// that tell different settings apart, quotas, token buckets, validation. The
// README states every fact it rests on with its grade; what nobody has verified
// is a switch (see [Switches]). A call or parameter that it does not know is a
// loud error, never ignored.
//
// The state is one value behind one mutex, and time passes only through
// Config.Now, so that a simulation with a faked clock sees the same as a real
// run. With Config.DataPlane it also listens on loopback addresses, forwards
// TCP and UDP to the targets and checks their health for real.
//
// It does not promise that AWS answers with the same message text, only with
// the same code where a fact says so.
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

// Emulator is one AWS account's Elastic Load Balancing v2 in one Region. It is
// an http.Handler and an http.RoundTripper.
type Emulator struct {
	cfg     Config
	log     *slog.Logger
	closing context.Context // ends when Close begins; hanging calls end with it
	stop    context.CancelFunc
	forward *forwarding // nil without data plane

	mu         sync.Mutex // guards all below
	state      *state
	fault      func(Call) Fault
	calls      callLog
	arrivals   uint64                // calls seen so far; the newest call's Seq
	principals map[string]*principal // access key id →
}

// New returns an emulator. The zero Config works. Without Config.DataPlane it
// starts no goroutine. The error names the setting that cannot be true.
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

// Address is where the load balancer can be dialled: its own loopback address.
// It is false when there is no such load balancer or no data plane.
func (e *Emulator) Address(loadBalancerARN string) (netip.Addr, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lb, ok := e.state.loadBalancers[loadBalancerARN]
	if !ok || !lb.address.IsValid() {
		return netip.Addr{}, false
	}
	return lb.address, true
}

// Datagrams are those of each listener that the data plane ever served, by ARN;
// nil without data plane.
func (e *Emulator) Datagrams() map[string]dataplane.Datagrams {
	if e.forward == nil {
		return nil
	}
	return e.forward.plane.Datagrams()
}

// Close ends hanging calls, closes all sockets and waits for all goroutines of
// the data plane. Calls after Close still answer from the state.
func (e *Emulator) Close() error {
	e.stop()
	if e.forward != nil {
		return e.forward.close()
	}
	return nil
}
