package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
)

// lockPort is not privileged, so that nobody needs to be root.
const lockPort = "10255"

// addresses are the pod addresses of one rig: a /24 of 127.30.0.0/16 that no
// other process of this machine uses.
type addresses struct {
	prefix netip.Addr
	lock   net.Listener
	last   *atomic.Uint32
}

// reserveAddresses takes the first /24 whose lock, a socket on its first
// address, is free.
func reserveAddresses() (addresses, error) {
	for third := range 256 {
		prefix := netip.AddrFrom4([4]byte{127, 30, byte(third), 0})
		lock, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(prefix.Next().String(), lockPort))
		if err == nil {
			return addresses{prefix, lock, new(atomic.Uint32)}, nil
		}
	}
	return addresses{}, errors.New("reserving pod addresses: all of 127.30.0.0/16 is in use, or its lock port is")
}

// next gives an address that no pod of the rig has had.
func (a addresses) next() (string, error) {
	n := a.last.Add(1) + 1 // .1 is the lock's
	if n > 254 {
		return "", fmt.Errorf("no pod address is left in %s/24", a.prefix)
	}
	four := a.prefix.As4()
	four[3] = byte(n)
	return netip.AddrFrom4(four).String(), nil
}

func (a addresses) release() error {
	if a.lock == nil {
		return nil
	}
	if err := a.lock.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("releasing pod addresses: %w", err)
	}
	return nil
}
