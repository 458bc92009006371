// Package sockets finds out whether a process in the pod listens on a port. It reads
// the kernel's tables of the pod's network namespace and sends nothing to the game.
package sockets

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/portlease/portlease/shared/api"
)

// Table is the kernel's tables of one network namespace
// (https://docs.kernel.org/networking/proc_net_tcp.html). It is for one goroutine.
type Table struct {
	// Dir is /proc/self/net, except in tests.
	Dir string
	// IP is the pod's address. Sockets bound to another address do not count.
	IP string

	buffer []byte // is kept, because the tables are read every few seconds for hours
}

// lineSize is more than a line of any table has.
const lineSize = 512

// protocols have the state, in hexadecimal, of sockets that accept any sender: TCP_LISTEN
// and, for UDP, TCP_CLOSE.
var protocols = []struct {
	name  api.Protocol
	state string
	files []string
}{
	{api.TCP, "0A", []string{"tcp", "tcp6"}},
	{api.UDP, "07", []string{"udp", "udp6"}},
}

// Any reports whether a process listens on any of the ports.
func (t *Table) Any(ports []api.Port) (bool, error) {
	wanted := 0
	for _, p := range protocols {
		wanted += len(of(ports, p.name))
	}
	missing, err := t.Missing(ports)
	return len(missing) < wanted, err
}

// Missing returns the ports that no process listens on. A port with TCP and UDP needs a
// socket of each; what it lacks is returned as a port of that one protocol.
func (t *Table) Missing(ports []api.Port) ([]api.Port, error) {
	ip, err := netip.ParseAddr(t.IP)
	if err != nil {
		return nil, fmt.Errorf("parsing the pod's IP address: %w", err)
	}
	var all []api.Port
	for _, p := range protocols {
		missing := of(ports, p.name)
		for _, file := range p.files {
			if len(missing) == 0 {
				break
			}
			if missing, err = t.remove(missing, filepath.Join(t.Dir, file), p.state, ip.Unmap()); err != nil {
				return nil, err
			}
		}
		all = append(all, missing...)
	}
	return all, nil
}

// of returns the ports that need a socket of one protocol, with that protocol alone.
func of(ports []api.Port, protocol api.Protocol) []api.Port {
	var found []api.Port
	for _, p := range ports {
		if strings.Contains(string(p.Protocol), string(protocol)) {
			p.Protocol = protocol
			found = append(found, p)
		}
	}
	return found
}

// remove searches one table and returns the ports without a socket in it. A kernel
// without IPv6 has no table for it.
func (t *Table) remove(ports []api.Port, path, state string, ip netip.Addr) ([]api.Port, error) {
	file, err := os.Open(path) //nolint:gosec // the kernel's tables, and files of tests
	if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(path, "6") {
		return ports, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the socket table: %w", err)
	}
	defer file.Close() //nolint:errcheck // the file was only read
	if t.buffer == nil {
		t.buffer = make([]byte, lineSize)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(t.buffer, lineSize)
	missing, err := search(lines, ports, state, ip)
	if err != nil {
		return nil, fmt.Errorf("reading the socket table %s: %w", path, err)
	}
	return missing, nil
}

// search reads no further than it must, and allocates nothing for the connections of
// players, which may be thousands.
func search(lines *bufio.Scanner, ports []api.Port, state string, ip netip.Addr) ([]api.Port, error) {
	lines.Scan() // the heading
	for len(ports) > 0 && lines.Scan() {
		address, found := column(lines.Bytes(), 1)
		its, complete := column(lines.Bytes(), 3)
		if !found || !complete {
			return nil, fmt.Errorf("invalid line %q", lines.Text())
		}
		if string(its) != state {
			continue
		}
		local, err := parse(string(address))
		if err != nil {
			return nil, err
		}
		if local.Addr() == ip || local.Addr().IsUnspecified() {
			ports = slices.DeleteFunc(ports, func(p api.Port) bool { return p.TargetPort == int(local.Port()) })
		}
	}
	return ports, lines.Err()
}

// column returns the nth column of a line, counted from 0.
func column(line []byte, n int) ([]byte, bool) {
	for field := range bytes.FieldsSeq(line) {
		if n == 0 {
			return field, true
		}
		n--
	}
	return nil, false
}

// parse reads an address as the kernel prints it on a little-endian machine: the bytes
// of each 32-bit word in reverse.
func parse(s string) (netip.AddrPort, error) {
	address, port, cut := strings.Cut(s, ":")
	decoded, err := hex.DecodeString(address)
	if err != nil || !cut || len(decoded) != 4 && len(decoded) != 16 {
		return netip.AddrPort{}, fmt.Errorf("invalid address %q", s)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("invalid address %q: %w", s, err)
	}
	for word := range slices.Chunk(decoded, 4) {
		slices.Reverse(word)
	}
	ip, _ := netip.AddrFromSlice(decoded)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}
