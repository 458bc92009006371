// Package sockets tells whether anybody in the agent's network namespace, which is
// the pod's, listens on a port: by the kernel's tables, without sending anything to
// a game server.
package sockets

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/portlease/portlease/shared/api"
)

// Table is the kernel's tables of one network namespace
// (https://docs.kernel.org/networking/proc_net_tcp.html).
type Table struct {
	// Dir is where they are; /proc/self/net outside of tests.
	Dir string
	// IP is the pod's address: a socket of another address is not the game's.
	IP string
}

// stateListen and stateUnconnected are the states of sockets that take whatever
// comes, in hexadecimal: TCP_LISTEN and, of UDP, TCP_CLOSE.
const (
	stateListen      = "0A"
	stateUnconnected = "07"
)

// Any tells whether any of the ports is listened on.
func (t Table) Any(ports []api.Port) (bool, error) {
	ip, err := netip.ParseAddr(t.IP)
	if err != nil {
		return false, fmt.Errorf("reading the pod's address: %w", err)
	}
	for _, one := range []struct {
		protocol, state string
		files           []string
	}{
		{"TCP", stateListen, []string{"tcp", "tcp6"}},
		{"UDP", stateUnconnected, []string{"udp", "udp6"}},
	} {
		var wanted []int
		for _, p := range ports {
			if strings.Contains(string(p.Protocol), one.protocol) {
				wanted = append(wanted, p.TargetPort)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		for _, file := range one.files {
			found, err := listens(filepath.Join(t.Dir, file), one.state, ip.Unmap(), wanted)
			if err != nil || found {
				return found, err
			}
		}
	}
	return false, nil
}

// listens looks through one table. A kernel without IPv6 has no table for it.
func listens(path, state string, ip netip.Addr, ports []int) (bool, error) {
	file, err := os.Open(path) //nolint:gosec // the kernel's tables, and files of tests
	if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(path, "6") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the sockets: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	found, err := search(file, state, ip, ports)
	if err != nil {
		return false, fmt.Errorf("reading the sockets of %s: %w", path, err)
	}
	return found, nil
}

func search(table io.Reader, state string, ip netip.Addr, ports []int) (bool, error) {
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			return false, fmt.Errorf("%q is no line of it", lines.Text())
		}
		if fields[3] != state {
			continue
		}
		local, err := parse(fields[1])
		if err != nil {
			return false, err
		}
		if slices.Contains(ports, int(local.Port())) && (local.Addr() == ip || local.Addr().IsUnspecified()) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// parse reads an address as the kernel prints it on a little-endian machine: each
// 32 bits of it backwards.
func parse(s string) (netip.AddrPort, error) {
	address, port, cut := strings.Cut(s, ":")
	bytes, err := hex.DecodeString(address)
	if err != nil || !cut || len(bytes) != 4 && len(bytes) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", s)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address: %w", s, err)
	}
	for word := range slices.Chunk(bytes, 4) {
		slices.Reverse(word)
	}
	ip, _ := netip.AddrFromSlice(bytes)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}
