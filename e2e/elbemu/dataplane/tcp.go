package dataplane

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// connectTimeout bounds the time to connect to a target.
const connectTimeout = 5 * time.Second

// open binds the sockets of a listener and starts to serve them. The caller holds
// Plane.mu.
func (p *Plane) open(s *serving) error {
	var stream *net.TCPListener
	var err error
	if s.want.TCP {
		stream, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(s.want.At))
		if err != nil {
			return fmt.Errorf("binding TCP listener: %w", err)
		}
		s.sockets = append(s.sockets, stream)
	}
	if s.want.UDP {
		socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.want.At))
		if err != nil {
			return fmt.Errorf("binding UDP listener: %w", err)
		}
		s.sockets = append(s.sockets, socket)
		p.running.Go(newUDPSocket(p, s, socket).receive)
	}
	if stream != nil {
		p.running.Go(func() { p.accept(s, stream) })
	}
	return nil
}

// accept returns when the socket is closed.
func (p *Plane) accept(s *serving, stream *net.TCPListener) {
	for {
		client, err := stream.AcceptTCP()
		if err != nil {
			p.log.Debug("accepting ended", "listener", s.want.ID, "err", err)
			return
		}
		p.running.Go(func() { p.forward(s, client) })
	}
}

// forward proxies one connection until both sides are done or it is cut. If there is no
// target, it resets the client.
func (p *Plane) forward(s *serving, client *net.TCPConn) {
	chosen, ok := p.choose(s)
	if !ok {
		p.reset(client)
		return
	}
	ctx, cancel := context.WithTimeout(p.closing, connectTimeout)
	dialed, err := new(net.Dialer).DialContext(ctx, "tcp", chosen.Addr.String())
	cancel()
	if err != nil {
		p.log.Debug("target not reached", "target", chosen.Addr, "err", err)
		p.reset(client)
		return
	}
	target, ok := dialed.(*net.TCPConn)
	if !ok {
		p.reset(client)
		p.discard(dialed)
		return
	}
	f := &flow{
		Flow: Flow{
			Listener: s.want.ID, LoadBalancer: s.want.LoadBalancer, Group: chosen.Group,
			Client: addrPort(client.RemoteAddr()), Target: chosen.Addr,
		},
		cut: func() {
			p.reset(client)
			p.reset(target)
		},
	}
	if !p.begin(f) {
		f.cut()
		return
	}
	defer p.end(f)
	var both sync.WaitGroup
	both.Go(func() { p.carry(target, client) })
	both.Go(func() { p.carry(client, target) })
	both.Wait()
	p.discard(client)
	p.discard(target)
}

// carry copies one direction and closes the other side for writing at the end, so that
// half-closed connections work. An error on one side also ends the other.
func (p *Plane) carry(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		p.reset(to)
		p.reset(from)
		return
	}
	if err := to.CloseWrite(); err != nil {
		p.log.Debug("failed to forward the end of a TCP stream", "err", err)
	}
}

// reset closes a connection with RST, as a Network Load Balancer does.
func (p *Plane) reset(conn *net.TCPConn) {
	if err := conn.SetLinger(0); err != nil {
		p.log.Debug("failed to reset a connection; closing it", "err", err)
	}
	p.discard(conn)
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}
