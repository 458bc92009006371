package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// udpIdle is the idle timeout of UDP flows; it is fixed for Network Load Balancers.
	udpIdle = 120 * time.Second
	// datagramSize is enough for any UDP datagram.
	datagramSize = 64 << 10
)

// udpSocket serves the UDP side of a listener.
type udpSocket struct {
	plane   *Plane
	serving *serving
	socket  *net.UDPConn
	idle    time.Duration

	mu    sync.Mutex
	flows map[netip.AddrPort]*udpFlow // by client
}

// udpFlow is the traffic of one client through one listener. It keeps its target until it
// is idle for too long or cut.
type udpFlow struct {
	flow
	target *net.UDPConn
	last   atomic.Int64 // Unix nanoseconds of the last datagram in either direction
}

func newUDPSocket(p *Plane, s *serving, socket *net.UDPConn) *udpSocket {
	return &udpSocket{plane: p, serving: s, socket: socket, idle: p.udpIdle, flows: map[netip.AddrPort]*udpFlow{}}
}

// receive returns when the socket is closed, and then ends the socket's flows.
func (u *udpSocket) receive() {
	defer u.cutAll()
	buffer := make([]byte, datagramSize)
	for {
		n, client, err := u.socket.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			u.plane.log.Debug("datagram not received", "err", err)
			continue
		}
		f := u.flowOf(client)
		if f == nil { // no target, so the datagram is dropped
			u.plane.dropped(u.serving.want.ID)
			continue
		}
		f.last.Store(time.Now().UnixNano())
		if _, err := f.target.Write(buffer[:n]); err != nil {
			u.plane.log.Debug("datagram not forwarded", "target", f.Target, "err", err)
			u.plane.dropped(f.Listener)
			continue
		}
		u.plane.forwarded(f.Listener, f.Target)
	}
}

func (u *udpSocket) cutAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, f := range u.flows {
		f.cut()
	}
}

// flowOf returns the client's flow, or begins one. It returns nil if there is no target.
func (u *udpSocket) flowOf(client netip.AddrPort) *udpFlow {
	u.mu.Lock()
	f, ok := u.flows[client]
	u.mu.Unlock()
	if ok {
		return f
	}
	chosen, ok := u.plane.choose(u.serving)
	if !ok {
		return nil
	}
	target, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(chosen.Addr))
	if err != nil {
		u.plane.log.Debug("target not reached", "target", chosen.Addr, "err", err)
		return nil
	}
	f = &udpFlow{target: target}
	f.flow = flow{
		Flow: Flow{
			Listener: u.serving.want.ID, LoadBalancer: u.serving.want.LoadBalancer, Group: chosen.Group,
			Client: client, Target: chosen.Addr,
		},
		cut: func() { u.plane.discard(target) },
	}
	f.last.Store(time.Now().UnixNano())
	u.mu.Lock()
	u.flows[client] = f
	u.mu.Unlock()
	if !u.plane.begin(&f.flow) {
		u.forget(f)
		return nil
	}
	u.plane.running.Go(func() { u.reply(f) })
	return f
}

// reply forwards the target's datagrams to the client until the flow is idle or cut.
func (u *udpSocket) reply(f *udpFlow) {
	defer u.plane.end(&f.flow)
	defer u.forget(f)
	buffer := make([]byte, datagramSize)
	for {
		deadline := time.Unix(0, f.last.Load()).Add(u.idle)
		if err := f.target.SetReadDeadline(deadline); err != nil {
			return
		}
		n, err := f.target.Read(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			if time.Now().Before(time.Unix(0, f.last.Load()).Add(u.idle)) {
				continue // the client sent something meanwhile
			}
			return
		case err != nil:
			u.plane.log.Debug("target refused datagram", "target", f.Target, "err", err)
			continue
		}
		f.last.Store(time.Now().UnixNano())
		if _, err := u.socket.WriteToUDPAddrPort(buffer[:n], f.Client); err != nil {
			u.plane.log.Debug("datagram not returned", "client", f.Client, "err", err)
		}
	}
}

func (u *udpSocket) forget(f *udpFlow) {
	u.mu.Lock()
	if u.flows[f.Client] == f {
		delete(u.flows, f.Client)
	}
	u.mu.Unlock()
	u.plane.discard(f.target)
}
