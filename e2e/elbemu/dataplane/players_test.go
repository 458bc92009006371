package dataplane_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu/dataplane"
)

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func reserve(t *testing.T) *dataplane.Addresses {
	t.Helper()
	addresses, err := dataplane.ReserveAddresses()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := addresses.Release(); err != nil {
			t.Error(err)
		}
	})
	return addresses
}

// address returns an unused loopback address with a port that was free.
func address(t *testing.T) netip.AddrPort {
	t.Helper()
	ip, err := reserve(t).Next()
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(ip, 20001)
}

func closeLater(t *testing.T, c io.Closer) {
	t.Cleanup(func() { c.Close() })
}

// echo serves one connection. Its client sees any error.
func echo(c io.ReadWriteCloser, name string) {
	defer closeNow(c)
	if _, err := io.WriteString(c, name); err != nil {
		return
	}
	if _, err := io.Copy(c, c); err != nil {
		return
	}
}

func closeNow(c io.Closer) { c.Close() }

// tcpEcho serves a TCP echo that first sends its name.
func tcpEcho(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c, name)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// udpEcho answers each datagram with its name and the datagram.
func udpEcho(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, c)
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			if _, err := c.WriteToUDPAddrPort(append([]byte(name), buffer[:n]...), from); err != nil {
				return
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func dial(t *testing.T, network string, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial(network, at.String())
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, c)
	return c
}

// read returns the next bytes that arrive, or an error.
func read(c net.Conn) (string, error) {
	buffer := make([]byte, 1500)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	n, err := c.Read(buffer)
	return string(buffer[:n]), err
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func say(t *testing.T, c net.Conn, text, want string) {
	t.Helper()
	send(t, c, text)
	if got, err := read(c); got != want {
		t.Fatalf("answer %q, want %q: %v", got, want, err)
	}
}

func to(targets ...netip.AddrPort) []dataplane.Target {
	var list []dataplane.Target
	for _, a := range targets {
		list = append(list, dataplane.Target{Group: "g", Addr: a, Weight: 1})
	}
	return list
}
