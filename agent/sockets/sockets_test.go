package sockets_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/agent/sockets"
	"github.com/portlease/portlease/shared/api"
)

// It opens and closes real sockets of this process.
func TestAnyFindsSocketsOfThePodAndProtocol(t *testing.T) {
	const ip = "127.40.0.7"
	for name, open := range map[string]struct {
		network, address string
		protocol         api.Protocol
		want             bool
	}{
		"udp":                        {"udp4", ip + ":0", api.UDP, true},
		"tcp":                        {"tcp4", ip + ":0", api.TCP, true},
		"udp of both":                {"udp4", ip + ":0", api.TCPUDP, true},
		"tcp of both":                {"tcp4", ip + ":0", api.TCPUDP, true},
		"every address":              {"udp4", "0.0.0.0:0", api.UDP, true},
		"every address, IPv6":        {"tcp6", "[::]:0", api.TCP, true},
		"every address, IPv6 udp":    {"udp6", "[::]:0", api.UDP, true},
		"the other protocol":         {"tcp4", ip + ":0", api.UDP, false},
		"the other protocol of udp":  {"udp4", ip + ":0", api.TCP, false},
		"another pod's":              {"udp4", "127.40.0.8:0", api.UDP, false},
		"another pod's, over tcp":    {"tcp4", "127.40.0.8:0", api.TCP, false},
		"the loopback's, over tcp":   {"tcp4", "127.0.0.1:0", api.TCP, false},
		"the loopback's, over IPv6":  {"tcp6", "[::1]:0", api.TCP, false},
		"the loopback's, udp of IP6": {"udp6", "[::1]:0", api.UDP, false},
	} {
		t.Run(name, func(t *testing.T) {
			port, stop := listen(t, open.network, open.address)
			table := sockets.Table{Dir: "/proc/self/net", IP: ip}
			ports := []api.Port{{Name: "game", TargetPort: port, Protocol: open.protocol}}
			if got, err := table.Any(ports); err != nil || got != open.want {
				t.Errorf("while it listens on port %d: %t, %v", port, got, err)
			}
			stop()
			if got, err := table.Any(ports); err != nil || got {
				t.Errorf("after it was closed: %t, %v", got, err)
			}
		})
	}
}

func listen(t *testing.T, network, address string) (port int, stop func()) {
	t.Helper()
	if network[:3] == "udp" {
		opened, err := new(net.ListenConfig).ListenPacket(t.Context(), network, address)
		if err != nil {
			noSocket(t, network, err)
		}
		udp, ok := opened.LocalAddr().(*net.UDPAddr)
		if !ok {
			t.Fatal(opened.LocalAddr())
		}
		return udp.Port, func() { _ = opened.Close() }
	}
	opened, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		noSocket(t, network, err)
	}
	tcp, ok := opened.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(opened.Addr())
	}
	return tcp.Port, func() { _ = opened.Close() }
}

func TestMissingNamesThePortsWithoutASocket(t *testing.T) {
	const ip = "127.40.0.10"
	udp, stopUDP := listen(t, "udp4", ip+":0")
	tcp, stopTCP := listen(t, "tcp4", "0.0.0.0:0")
	table := sockets.Table{Dir: "/proc/self/net", IP: ip}
	game, chat := api.Port{Name: "game", TargetPort: udp, Protocol: api.UDP}, api.Port{Name: "chat", TargetPort: tcp, Protocol: api.TCP}
	both := api.Port{Name: "both", TargetPort: udp, Protocol: api.TCPUDP}
	withoutTCP := api.Port{Name: "both", TargetPort: udp, Protocol: api.TCP}
	shows := func(what string, want ...api.Port) {
		t.Helper()
		if got, err := table.Missing([]api.Port{game, chat, both}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: missing are %+v, %v; want %+v", what, got, err, want)
		}
	}
	shows("all but one listen", withoutTCP)
	stopTCP()
	shows("without TCP", chat, withoutTCP)
	stopUDP()
	shows("without any", chat, withoutTCP, game, api.Port{Name: "both", TargetPort: udp, Protocol: api.UDP})
}

// A game may have thousands of connections, and the table is read every few seconds.
func TestConnectionsCostNoMemory(t *testing.T) {
	dir := t.TempDir()
	table := "  sl  local_address rem_address   st\n" + strings.Repeat("   1: 0700280A:1E61 0100007F:C350 01 00000000:00000000\n", 5000)
	if err := os.WriteFile(filepath.Join(dir, "tcp"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	read := sockets.Table{Dir: dir, IP: "10.40.0.7"}
	ports := []api.Port{{TargetPort: 7777, Protocol: api.TCP}}
	allocations := testing.AllocsPerRun(10, func() {
		if missing, err := read.Missing(ports); err != nil || len(missing) != 1 {
			t.Errorf("missing are %v, %v", missing, err)
		}
	})
	if allocations > 20 {
		t.Errorf("reading 5000 connections takes %.0f allocations", allocations)
	}
}

// noSocket leaves out IPv6 where the kernel has none.
func noSocket(t *testing.T, network string, err error) {
	t.Helper()
	if strings.HasSuffix(network, "6") {
		t.Skip("no IPv6 here:", err)
	}
	t.Fatal(err)
}

// The TCP connections of players do not count.
func TestEstablishedConnectionsAreNotListeners(t *testing.T) {
	const ip = "127.40.0.9"
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	player, err := new(net.Dialer).DialContext(t.Context(), "tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close() //nolint:errcheck // the test is over
	if _, err := listener.Accept(); err != nil {
		t.Fatal(err)
	}
	tcp, _ := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	table := sockets.Table{Dir: "/proc/self/net", IP: ip}
	got, err := table.Any([]api.Port{{TargetPort: tcp.Port, Protocol: api.TCP}})
	if err != nil || got {
		t.Errorf("it listens: %t, %v", got, err)
	}
}

// A table that cannot be read does not mean that no process listens.
func TestUnreadableTablesAreErrors(t *testing.T) {
	heading := "  sl  local_address rem_address   st\n"
	for name, text := range map[string]string{
		"absent": "", "cut off": heading + "   0: 0100007F:1F90\n", "no address": heading + "   0: XX:1F90 0:0 07\n", "no port": heading + "   0: 0100007F 0:0 07\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if text != "" {
				if err := os.WriteFile(filepath.Join(dir, "udp"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			table, ports := sockets.Table{Dir: dir, IP: "127.0.0.1"}, []api.Port{{TargetPort: 8080, Protocol: api.UDP}}
			if got, err := table.Any(ports); err == nil {
				t.Errorf("it says %t", got)
			}
			if got, err := table.Missing(ports); err == nil {
				t.Errorf("missing are %v", got)
			}
		})
	}
}
