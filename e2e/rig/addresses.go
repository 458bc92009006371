package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// lockPort is not privileged, so that nobody needs to be root.
const lockPort = "10255"

// addresses are those of one rig's replicas and pods: as many /24 of
// 127.30.0.0/16 as it needs, which no other process of this machine uses.
type addresses struct {
	mu sync.Mutex // guards all below
	// blocks are the /24, the newest last, and locks the sockets on their first
	// addresses.
	blocks []netip.Addr
	locks  []net.Listener
	last   byte // given of the newest block
}

// reserve takes the first /24 that is free.
func (a *addresses) reserve() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reserveLocked()
}

func (a *addresses) reserveLocked() error {
	for third := range 256 {
		block := netip.AddrFrom4([4]byte{127, 30, byte(third), 0})
		lock, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(block.Next().String(), lockPort))
		if err == nil {
			a.blocks, a.locks, a.last = append(a.blocks, block), append(a.locks, lock), 1 // .1 is the lock's
			return nil
		}
	}
	return errors.New("reserving addresses: all of 127.30.0.0/16 is in use, or its lock port is")
}

// next gives an address that nothing of the rig has had.
func (a *addresses) next() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == 254 {
		if err := a.reserveLocked(); err != nil {
			return netip.Addr{}, fmt.Errorf("no address is left: %w", err)
		}
	}
	a.last++
	four := a.blocks[len(a.blocks)-1].As4()
	four[3] = a.last
	return netip.AddrFrom4(four), nil
}

func (a *addresses) release() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, lock := range a.locks {
		if err := lock.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("releasing addresses: %w", err))
		}
	}
	return errors.Join(errs...)
}
