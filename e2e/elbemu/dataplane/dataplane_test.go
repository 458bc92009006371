package dataplane_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu/dataplane"
)

const patience = 5 * time.Second

// noGoroutineLeft fails the test if it leaves goroutines behind.
func noGoroutineLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

func newPlane(t *testing.T) *dataplane.Plane {
	p := dataplane.New(slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

func TestTCPOutlivesItsListener(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	p.Sync([]dataplane.Listener{{ID: "l", At: at, TCP: true, Targets: to(tcpEcho(t, "a"))}})
	c := dial(t, "tcp", at)
	say(t, c, "", "a")
	p.Sync(nil)
	say(t, c, "still", "still")
	if _, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a new connection: %v", err)
	}
	if n := len(p.Flows()); n != 1 {
		t.Fatalf("%d flows", n)
	}
	p.Cut(func(f dataplane.Flow) bool { return f.Listener == "l" && f.Group == "g" })
	if _, err := read(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("after the cut: %v", err)
	}
}

func TestHalfClosedConnectionsWork(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	p.Sync([]dataplane.Listener{{ID: "l", At: at, TCP: true, Targets: to(tcpEcho(t, ""))}})
	c := dial(t, "tcp", at)
	long := bytes.Repeat([]byte("x"), 1<<20)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(long)
		sent <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, long) {
		t.Fatalf("%d bytes: %v", len(got), err)
	}
	eventually(t, "the flow ends", func() bool { return len(p.Flows()) == 0 })
}

func TestUDPKeepsItsTargetAndEndsWithItsListener(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	a, b := udpEcho(t, "a:"), udpEcho(t, "b:")
	listener := func(targets ...netip.AddrPort) []dataplane.Listener {
		return []dataplane.Listener{{ID: "l", At: at, UDP: true, Targets: to(targets...)}}
	}
	p.Sync(listener(a))
	old := dial(t, "udp", at)
	say(t, old, "1", "a:1")
	p.Sync(listener(b))
	say(t, old, "2", "a:2") // an existing flow continues
	say(t, dial(t, "udp", at), "3", "b:3")
	p.Sync(nil)
	eventually(t, "flows end", func() bool { return len(p.Flows()) == 0 })
	send(t, old, "4")
	if got, err := read(old); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("without a listener: %q, %v", got, err)
	}
}

func TestClientOfACutUDPFlowGetsANewFlow(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	a, b := udpEcho(t, "a:"), udpEcho(t, "b:")
	p.Sync([]dataplane.Listener{{ID: "l", At: at, UDP: true, Targets: to(a)}})
	c := dial(t, "udp", at)
	say(t, c, "1", "a:1")
	p.Sync([]dataplane.Listener{{ID: "l", At: at, UDP: true, Targets: to(b)}})
	p.Cut(func(f dataplane.Flow) bool { return f.Target == a })
	eventually(t, "the flow ends", func() bool { return len(p.Flows()) == 0 })
	say(t, c, "2", "b:2")
}

func TestIdleUDPFlowsEnd(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	p.SetUDPIdle(20 * time.Millisecond)
	p.Sync([]dataplane.Listener{{ID: "l", At: at, UDP: true, Targets: to(udpEcho(t, "a:"))}})
	say(t, dial(t, "udp", at), "1", "a:1")
	eventually(t, "the idle flow ends", func() bool { return len(p.Flows()) == 0 })
}

func TestDatagramsAreCounted(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	a := udpEcho(t, "a:")
	listener := dataplane.Listener{ID: "l", At: at, UDP: true, Targets: to(a)}
	p.Sync([]dataplane.Listener{listener})
	old := dial(t, "udp", at)
	say(t, old, "1", "a:1")
	listener.Targets = nil
	p.Sync([]dataplane.Listener{listener})
	send(t, dial(t, "udp", at), "2")
	say(t, old, "3", "a:3")
	p.Sync(nil)
	if got := p.Datagrams()["l"]; got.Dropped != 1 || len(got.Forwarded) != 1 || got.Forwarded[a] != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestBothProtocolsOnOnePort(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	p.Sync([]dataplane.Listener{
		{ID: "t", At: at, TCP: true, Targets: to(tcpEcho(t, "stream"))},
		{ID: "u", At: at, UDP: true, Targets: to(udpEcho(t, "datagram:"))},
	})
	say(t, dial(t, "tcp", at), "", "stream")
	say(t, dial(t, "udp", at), "x", "datagram:x")
}

func TestWeightsShareNewFlows(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	targets := to(tcpEcho(t, "a"), tcpEcho(t, "b"), tcpEcho(t, "c"))
	targets[0].Weight, targets[2].Weight = 3, 0
	p.Sync([]dataplane.Listener{{ID: "l", At: at, TCP: true, Targets: targets}})
	got := map[string]int{}
	for range 8 {
		name, err := read(dial(t, "tcp", at))
		if err != nil {
			t.Fatal(err)
		}
		got[name]++
	}
	if got["a"] != 6 || got["b"] != 2 {
		t.Fatal(got)
	}
}

func TestConnectionWithoutATargetIsReset(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	p.Sync([]dataplane.Listener{{ID: "l", At: at, TCP: true}})
	c, err := net.Dial("tcp", at.String())
	if err == nil {
		closeLater(t, c)
		_, err = read(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestTakenPortIsReportedAndRetried(t *testing.T) {
	noGoroutineLeft(t)
	var log bytes.Buffer
	p := dataplane.New(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(p.Close)
	at := address(t)
	other, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	want := []dataplane.Listener{{ID: "l", At: at, TCP: true, UDP: true, Targets: to(tcpEcho(t, "a"))}}
	p.Sync(want)
	if fault := p.Faults()["l"]; !strings.Contains(fault, "in use") || !p.Failing() || !strings.Contains(log.String(), "listener not served") {
		t.Fatalf("fault %q, log %s", fault, &log)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	p.Sync(want)
	if p.Failing() {
		t.Fatal(p.Faults())
	}
	say(t, dial(t, "tcp", at), "", "a")
}

func TestCloseEndsEverything(t *testing.T) {
	noGoroutineLeft(t)
	p, at := newPlane(t), address(t)
	p.Sync([]dataplane.Listener{{ID: "l", At: at, TCP: true, UDP: true, Targets: to(tcpEcho(t, "a"))}})
	c := dial(t, "tcp", at)
	say(t, c, "", "a")
	send(t, dial(t, "udp", at), "x")
	p.Close()
	if _, err := read(c); err == nil {
		t.Fatal("the connection lives")
	}
	p.Sync([]dataplane.Listener{{ID: "l", At: at, TCP: true}})
	if _, err := net.Dial("tcp", at.String()); err == nil {
		t.Fatal("a closed plane listens")
	}
}

func TestAddressesAreHandedOutOnce(t *testing.T) {
	one, two := reserve(t), reserve(t)
	seen := map[netip.Addr]bool{}
	for range 600 {
		for _, from := range []*dataplane.Addresses{one, two} {
			a, err := from.Next()
			if err != nil || seen[a] || !netip.MustParsePrefix("127.20.0.0/16").Contains(a) {
				t.Fatal(a, err)
			}
			seen[a] = true
		}
	}
}
