package conns_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/conns"
)

// peer is a connection from an address. Everything but that and Close is unused.
type peer struct {
	net.Conn
	address string
	closed  bool
}

func (p *peer) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(addrPort(p.address))
}

func (p *peer) Close() error {
	p.closed = true
	return nil
}

// world is a Limiter, its clock, and how many connections each limit closed.
type world struct {
	*conns.Limiter
	now    time.Time
	closed map[string]int
}

func newWorld(total int) *world {
	w := &world{now: time.Now(), closed: make(map[string]int)}
	w.Limiter = conns.New(total, func() time.Time { return w.now }, func(limit string) { w.closed[limit]++ })
	return w
}

// open opens a connection a second after the one before.
func (w *world) open(address string) *peer {
	w.now = w.now.Add(time.Second)
	p := &peer{address: address}
	w.Track(p, http.StateNew)
	return p
}

// set changes the state of a connection, a second after the change before.
func (w *world) set(p *peer, state http.ConnState) {
	w.now = w.now.Add(time.Second)
	w.Track(p, state)
}

func TestOneAddressHoldsALimitedNumberOfConnections(t *testing.T) {
	w := newWorld(1000)
	var own []*peer
	for range conns.PerAddress {
		own = append(own, w.open("10.0.0.1:1"))
	}
	other := w.open("10.0.0.2:1")
	w.set(own[0], http.StateActive)
	w.set(own[1], http.StateActive)
	w.set(own[1], http.StateIdle)
	if w.Count() != conns.PerAddress+1 || len(w.closed) > 0 {
		t.Fatalf("%d connections, closed %v", w.Count(), w.closed)
	}
	// The one that has been quiet for the longest goes first, and one with a call last.
	for _, first := range own[2:] {
		if w.open("[::ffff:10.0.0.1]:7"); !first.closed {
			t.Fatal("another connection went before the one that was quiet for the longest")
		}
	}
	if w.open("10.0.0.1:1"); !own[1].closed || own[0].closed || other.closed {
		t.Errorf("of the idle, the active and the other's connection, these were closed: %t, %t, %t", own[1].closed, own[0].closed, other.closed)
	}
	if w.closed[conns.LimitAddress] != conns.PerAddress-1 || w.Count() != conns.PerAddress+1 {
		t.Errorf("%d connections, closed %v", w.Count(), w.closed)
	}
}

// TestNewConnectionsOfAnAddressAreLimited: each costs a TLS handshake, so too many are
// closed before it.
func TestNewConnectionsOfAnAddressAreLimited(t *testing.T) {
	w := newWorld(1000)
	const burst, perSecond = 200, 50
	open := func(address string) (admitted bool) {
		p := &peer{address: address}
		w.Track(p, http.StateNew)
		w.Track(p, http.StateClosed)
		return !p.closed
	}
	for n := range burst {
		if !open("10.0.0.1:1") {
			t.Fatalf("connection %d was closed", n)
		}
	}
	if open("10.0.0.1:1") || w.closed[conns.LimitRate] != 1 || w.Count() != 0 {
		t.Errorf("one more: %d connections, closed %v", w.Count(), w.closed)
	}
	if !open("10.0.0.2:1") {
		t.Error("another address is limited, too")
	}
	w.now = w.now.Add(time.Second)
	admitted := 0
	for range 2 * perSecond {
		if open("10.0.0.1:1") {
			admitted++
		}
	}
	if admitted != perSecond {
		t.Errorf("a second later %d were admitted, want %d", admitted, perSecond)
	}
}

func TestNewcomerDisplacesAConnectionOfTheAddressWithMost(t *testing.T) {
	const total, hostile = 20, 3
	w := newWorld(total)
	honest := w.open("10.0.1.1:1")
	var attack []*peer
	for n := range total - 1 {
		p := w.open(fmt.Sprintf("10.0.0.%d:1", n%hostile))
		w.set(p, http.StateActive)
		attack = append(attack, p)
	}
	newcomers := []*peer{honest}
	for n := range 10 {
		newcomers = append(newcomers, w.open(fmt.Sprintf("10.0.2.%d:1", n)))
		w.open("10.0.0.0:1") // and the attack goes on
	}
	for n, p := range newcomers {
		if p.closed {
			t.Errorf("the connection of honest caller %d was closed", n)
		}
	}
	if !attack[0].closed || w.Count() != total || w.closed[conns.LimitTotal] != 20 {
		t.Errorf("%d connections, closed %v", w.Count(), w.closed)
	}
}

// TestFleetOverTheLimitSharesTheConnections: the one that is idle for the longest makes
// room, and its caller opens another when it needs one.
func TestFleetOverTheLimitSharesTheConnections(t *testing.T) {
	const total = 10
	w := newWorld(total)
	var fleet []*peer
	for n := range total {
		p := w.open(fmt.Sprintf("10.0.0.%d:1", n))
		w.set(p, http.StateActive)
		fleet = append(fleet, p)
	}
	w.set(fleet[7], http.StateIdle)
	w.set(fleet[3], http.StateIdle)
	newcomer := w.open("10.0.1.1:1")
	for n, p := range fleet {
		if p.closed != (n == 7) {
			t.Errorf("connection %d: closed is %t", n, p.closed)
		}
	}
	if newcomer.closed {
		t.Error("the newcomer was closed")
	}
}

func TestClosedConnectionsAreForgotten(t *testing.T) {
	w := newWorld(2)
	for n := range 100 {
		p := w.open(fmt.Sprintf("10.0.0.%d:1", n))
		w.set(p, []http.ConnState{http.StateClosed, http.StateHijacked}[n%2])
		w.set(p, http.StateClosed)
	}
	if w.Count() != 0 || len(w.closed) > 0 {
		t.Errorf("%d connections, closed %v", w.Count(), w.closed)
	}
	// What the limiter has closed itself ends a moment later.
	first := w.open("10.0.0.1:1")
	w.open("10.0.0.1:1")
	w.open("10.0.0.2:1")
	w.set(first, http.StateActive)
	w.set(first, http.StateClosed)
	if !first.closed || w.Count() != 2 {
		t.Errorf("%d connections; the first was closed: %t", w.Count(), first.closed)
	}
}

func addrPort(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
