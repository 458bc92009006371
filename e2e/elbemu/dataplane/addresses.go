package dataplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// Addresses hands out loopback addresses in 127.20.0.0/16, each once. Several processes on
// one machine share that range. Each reserves blocks of 254 addresses: it binds a UDP
// socket to a block's last address, which is never handed out.
type Addresses struct {
	reservations []*net.UDPConn
	block        byte
	next         int // host part of the next address in the block
}

const (
	reservationPort = 65535
	lastHost        = 254
	blocks          = 256
)

// ReserveAddresses reserves a first block. It fails if no block is free.
func ReserveAddresses() (*Addresses, error) {
	a := &Addresses{}
	if err := a.reserve(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Addresses) reserve() error {
	var last error
	first := rand.IntN(blocks)
	for i := range blocks {
		block := byte((first + i) % blocks)
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 20, block, 255}), reservationPort)
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			last = err
			continue
		}
		a.reservations = append(a.reservations, conn)
		a.block, a.next = block, 1
		return nil
	}
	return fmt.Errorf("finding a free block in 127.20.0.0/16: %w", last)
}

// Next returns an address that was not handed out before. It is not safe for concurrent
// use.
func (a *Addresses) Next() (netip.Addr, error) {
	if a.next > lastHost {
		if err := a.reserve(); err != nil {
			return netip.Addr{}, err
		}
	}
	address := netip.AddrFrom4([4]byte{127, 20, a.block, byte(a.next)})
	a.next++
	return address, nil
}

// Release frees all blocks.
func (a *Addresses) Release() error {
	var failures []error
	for _, conn := range a.reservations {
		failures = append(failures, conn.Close())
	}
	a.reservations = nil
	return errors.Join(failures...)
}
