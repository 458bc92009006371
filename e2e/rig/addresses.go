package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// lockPort is above 1024, so that tests run without root.
const lockPort = "10255"

// addresses gives one rig's replicas and pods their IPs. It reserves as many /24
// blocks of 127.30.0.0/16 as it needs, and no other process on this machine uses
// them.
type addresses struct {
	mu sync.Mutex // guards all fields below
	// blocks has the /24 blocks, newest last. locks has a listening socket on the
	// first address of each block, which keeps other processes out.
	blocks []netip.Addr
	locks  []net.Listener
	last   byte // last byte given out in the newest block
}

// reserve takes the first free /24 block.
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
			a.blocks, a.locks, a.last = append(a.blocks, block), append(a.locks, lock), 1 // .1 belongs to the lock
			return nil
		}
	}
	return errors.New("reserving addresses: all of 127.30.0.0/16 is in use, or its lock port is")
}

// next gives an address that nothing in this rig has used before.
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
