package rig_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

const (
	packetsASecond = 100
	packets        = 60 * packetsASecond
	// newPlayerEvery is the number of packets after which a new player sends. The
	// load balancer must choose a target for each new player.
	newPlayerEvery = 10
)

// TestNoPacketIsLost sends packets to a game for a minute. Meanwhile it kills the
// game's agent repeatedly and stops all allocators for a while. The load balancer
// must forward every packet to the same target, because the binding does not change.
//
// The test counts what the emulator forwarded, because the kernel of a busy machine
// may drop packets before or after it. The game's answers show that the traffic is
// real.
func TestNoPacketIsLost(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{
		Replicas: 2, DataPlane: true,
		// Recreating anything takes a second, so that players would notice it.
		Emulator: func(c *elbemu.Config) {
			c.Delays = &elbemu.Delays{ListenerUp: time.Second, TargetIn: time.Second}
		},
	})
	ctx := t.Context()
	p := newPod(t, r, "game-0", "game=7777/UDP")
	must(t, p.StartGame("udp-echo", 7777), p.WaitBound(ctx))
	endpoint, err := p.Endpoint()
	must(t, err)
	port, err := p.PortOf(ctx)
	must(t, err)
	must(t, rig.Eventually(ctx, "the game to be reached", func() error {
		return newPlayers(endpoint, p.Name).once(ctx)
	}))
	before := r.Emulator.Datagrams()

	all := newPlayers(endpoint, p.Name)
	ended := make(chan error, 1)
	go func() { ended <- all.play(ctx) }()
	killed := func(meanwhile func()) {
		must(t, p.Kill(ctx))
		all.waitForMore(t, 200)
		must(t, p.Start())
		meanwhile()
		must(t, p.WaitBound(ctx))
		all.waitForMore(t, 200)
	}
	for range 3 {
		killed(func() {})
	}
	for _, a := range r.Replicas {
		must(t, a.Stop(ctx))
	}
	all.waitForMore(t, 200)
	killed(func() {
		all.waitForMore(t, 500)
		for _, a := range r.Replicas {
			must(t, a.Revive(ctx))
		}
	})
	must(t, <-ended)

	target := netip.MustParseAddrPort(net.JoinHostPort(p.IP, "7777"))
	forwarded := 0
	for listener, d := range r.Emulator.Datagrams() {
		d.Dropped -= before[listener].Dropped
		if d.Dropped > 0 {
			t.Errorf("%d packets to %s were dropped", d.Dropped, listener)
		}
		for at, n := range d.Forwarded {
			n -= before[listener].Forwarded[at]
			if n > 0 && (at != target || listener != port.Value.ListenerARN) {
				t.Errorf("%d packets went to %v by %s, not to %v by %s", n, at, listener, target, port.Value.ListenerARN)
			}
			forwarded += n
		}
	}
	t.Logf("%d packets sent, %d forwarded, %d answered", packets, forwarded, all.answered.Load())
	check(t, r)
}

// players sends numbered packets to one endpoint, most of them from one address.
type players struct {
	endpoint, pod string
	answered      atomic.Int64

	mu      sync.Mutex
	refused error
}

func newPlayers(endpoint, pod string) *players { return &players{endpoint: endpoint, pod: pod} }

// once sends one packet and waits for its answer.
func (p *players) once(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", p.endpoint)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer has been read
	if _, err := fmt.Fprint(conn, 0); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	return p.hear(conn)
}

// play sends all packets. A port without a listener refuses them, which is an error.
func (p *players) play(ctx context.Context) error {
	var listening sync.WaitGroup
	defer listening.Wait()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close() // ends listen for this connection
		}
	}()
	join := func() (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", p.endpoint)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
		listening.Go(func() { p.listen(conn) })
		return conn, nil
	}
	old, err := join()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / packetsASecond)
	defer tick.Stop()
	for n := range packets {
		from := old
		if n%newPlayerEvery == 0 {
			if from, err = join(); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprint(from, n); err != nil {
			return fmt.Errorf("sending packet %d: %w", n, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// listen receives answers until the connection closes.
func (p *players) listen(conn net.Conn) {
	for {
		err := p.hear(conn)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			p.mu.Lock()
			p.refused = errors.Join(p.refused, err)
			p.mu.Unlock()
			return
		}
		p.answered.Add(1)
	}
}

func (p *players) hear(conn net.Conn) error {
	buffer := make([]byte, 1500)
	n, err := conn.Read(buffer)
	if err != nil {
		return err
	}
	quoted, ours := strings.CutPrefix(string(buffer[:n]), fmt.Sprintf("%s at %s heard ", p.pod, p.endpoint))
	said, err := strconv.Unquote(strings.TrimSpace(quoted))
	if _, number := strconv.Atoi(said); !ours || err != nil || number != nil {
		return fmt.Errorf("the game answered %q", buffer[:n])
	}
	return nil
}

// waitForMore waits until the game has answered that many more packets.
func (p *players) waitForMore(t *testing.T, more int64) {
	t.Helper()
	from := p.answered.Load()
	must(t, rig.Eventually(t.Context(), "the game to go on", func() error {
		if n := p.answered.Load() - from; n < more {
			return fmt.Errorf("%d packets were answered", n)
		}
		return nil
	}))
}
