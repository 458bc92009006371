// Package sockets finds out whether a process in the pod listens on a port. It reads
// the kernel's tables of the pod's network namespace and sends nothing to the game.
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
	// Dir is /proc/self/net, except in tests.
	Dir string
	// IP is the pod's address. Sockets bound to another address do not count.
	IP string
}

// stateListen and stateUnconnected are the states, in hexadecimal, of sockets that
// accept any sender: TCP_LISTEN and, for UDP, TCP_CLOSE.
const (
	stateListen      = "0A"
	stateUnconnected = "07"
)

// Any reports whether a process listens on any of the ports.
func (t Table) Any(ports []api.Port) (bool, error) {
	ip, err := netip.ParseAddr(t.IP)
	if err != nil {
		return false, fmt.Errorf("parsing the pod's IP address: %w", err)
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

// listens searches one table. A kernel without IPv6 has no table for it.
func listens(path, state string, ip netip.Addr, ports []int) (bool, error) {
	file, err := os.Open(path) //nolint:gosec // the kernel's tables, and files of tests
	if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(path, "6") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("opening the socket table: %w", err)
	}
	defer file.Close() //nolint:errcheck // the file was only read
	found, err := search(file, state, ip, ports)
	if err != nil {
		return false, fmt.Errorf("reading the socket table %s: %w", path, err)
	}
	return found, nil
}

func search(table io.Reader, state string, ip netip.Addr, ports []int) (bool, error) {
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			return false, fmt.Errorf("invalid line %q", lines.Text())
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

// parse reads an address as the kernel prints it on a little-endian machine: the bytes
// of each 32-bit word in reverse.
func parse(s string) (netip.AddrPort, error) {
	address, port, cut := strings.Cut(s, ":")
	bytes, err := hex.DecodeString(address)
	if err != nil || !cut || len(bytes) != 4 && len(bytes) != 16 {
		return netip.AddrPort{}, fmt.Errorf("invalid address %q", s)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("invalid address %q: %w", s, err)
	}
	for word := range slices.Chunk(bytes, 4) {
		slices.Reverse(word)
	}
	ip, _ := netip.AddrFromSlice(bytes)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}
