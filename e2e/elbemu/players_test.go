package elbemu_test

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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

func closeLater(t *testing.T, c io.Closer) {
	t.Cleanup(func() { c.Close() })
}

func closeNow(c io.Closer) { c.Close() }

// echo sends a name, then echoes. Its client sees any error.
func echo(c io.ReadWriteCloser, name string) {
	defer closeNow(c)
	if _, err := io.WriteString(c, name); err != nil {
		return
	}
	if _, err := io.Copy(c, c); err != nil {
		return
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// pod is a target on a loopback address inside vpc-local. It serves UDP and TCP on one
// port and answers with its name.
type pod struct {
	ip   string
	port int32
}

func newPod(t *testing.T, name string) pod {
	t.Helper()
	n := lastPod.Add(1)
	p := pod{ip: netip.AddrFrom4([4]byte{127, 30, 77, byte(n)}).String()}
	stream, err := net.Listen("tcp", p.ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, stream)
	p.port = int32(stream.Addr().(*net.TCPAddr).Port)
	datagrams, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, datagrams)
	go func() {
		for {
			c, err := stream.Accept()
			if err != nil {
				return
			}
			go echo(c, name)
		}
	}()
	go func() {
		buffer := make([]byte, 1500)
		for {
			_, from, err := datagrams.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := datagrams.WriteTo([]byte(name), from); err != nil {
				return
			}
		}
	}()
	return p
}

func connect(t *testing.T, network, host string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, host+":30000")
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, c)
	return c
}

func receive(c net.Conn) (string, error) {
	buffer := make([]byte, 1500)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	n, err := c.Read(buffer)
	return string(buffer[:n]), err
}

// reached returns the name of the pod that answers a new flow to listener port 30000.
func reached(t *testing.T, network, host string) string {
	t.Helper()
	c := connect(t, network, host)
	if network == "udp" {
		send(t, c, "?")
	}
	name, err := receive(c)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func nameOrCut(host string) string {
	c, err := net.Dial("tcp", host+":30000")
	if err != nil {
		return "!"
	}
	defer closeNow(c)
	name, err := receive(c)
	if err != nil {
		return "!"
	}
	return name
}

// names returns the names of the pods that answer some new connections. The name is "!"
// for a connection that is cut because its target has just become unhealthy.
func names(t *testing.T, host string) string {
	t.Helper()
	set := map[string]bool{}
	for range 6 {
		set[nameOrCut(host)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), "")
}

// syncBuffer is a buffer that is safe for concurrent use.
type syncBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
