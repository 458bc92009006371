// Package conns bounds the connections to the allocator: all of them together, those of
// one address, and how fast one address opens new ones.
//
// A connection too many never shuts out a newcomer of another address. It costs the
// address with the most connections one of its own instead, so a caller with one
// connection is served beside neighbors that hold as many as they can.
package conns

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/buckets"
)

// PerAddress is how many connections one address may hold. An agent holds one or two; a
// proxy in front of many pods has more.
const PerAddress = 64

const (
	// newPerSecond and newBurst are how many connections one address may open. Each costs
	// a TLS handshake, and agents keep theirs, or open two a minute if there are many.
	newPerSecond = 50
	newBurst     = 200
	// maxAddresses bounds the table of addresses to more than the pods of the biggest
	// fleet. One that is evicted starts anew.
	maxAddresses = 16384
)

// The limits, for metrics.
const (
	LimitAddress = "address"
	LimitTotal   = "total"
	LimitRate    = "rate"
)

// Limiter bounds connections. Its method Track is the hook of an http.Server.
type Limiter struct {
	total int
	now   func() time.Time
	// closed is told of every connection that was closed, and which limit was reached.
	closed func(limit string)
	// opening is how many more connections an address may open now.
	opening *buckets.Table[netip.Addr]

	mu sync.Mutex // guards all below
	// known is every open connection that Track was told of; addresses has the same, by
	// peer.
	known     map[net.Conn]*connection
	addresses map[netip.Addr]map[*connection]bool
}

type connection struct {
	net.Conn
	address netip.Addr
	// since is when it was opened or became quiet.
	since time.Time
	// quiet means that no call is in progress on it.
	quiet bool
}

// New makes a Limiter for so many connections in total.
func New(total int, now func() time.Time, closed func(limit string)) *Limiter {
	return &Limiter{
		total: total, now: now, closed: closed, opening: buckets.New[netip.Addr](newPerSecond, newBurst, func() int { return maxAddresses }),
		known: make(map[net.Conn]*connection), addresses: make(map[netip.Addr]map[*connection]bool),
	}
}

// mostKept is how many connections stay open between calls. Agents call twice a minute. An
// open connection costs some 30 KB, and a handshake less than a millisecond of processor time;
// so with many agents the memory costs more.
const mostKept = 1000

// Crowded reports whether connections should be closed after each call: there are more than
// mostKept, or half of those that may be open.
func (l *Limiter) Crowded() bool { return l.Count() > min(mostKept, l.total/2) }

// Count gives how many connections are open.
func (l *Limiter) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known)
}

// Track is for http.Server.ConnState.
func (l *Limiter) Track(conn net.Conn, state http.ConnState) {
	if state == http.StateNew {
		l.open(conn)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, known := l.known[conn]
	if !known {
		return // the limiter has closed it
	}
	switch state {
	case http.StateNew: // opened above
	case http.StateIdle:
		c.quiet, c.since = true, l.now()
	case http.StateActive:
		c.quiet = false
	case http.StateClosed, http.StateHijacked:
		l.forgetLocked(c)
	}
}

// open admits a new connection, and closes another if there are too many.
func (l *Limiter) open(conn net.Conn) {
	c := &connection{Conn: conn, address: addressOf(conn), quiet: true, since: l.now()}
	if !l.opening.Of(c.address).AllowN(l.now(), 1) {
		l.closed(LimitRate)
		shut(conn)
		return
	}
	l.mu.Lock()
	victim, limit := l.victimLocked(c.address)
	if victim != nil {
		l.forgetLocked(victim)
	}
	l.known[conn] = c
	if l.addresses[c.address] == nil {
		l.addresses[c.address] = make(map[*connection]bool)
	}
	l.addresses[c.address][c] = true
	l.mu.Unlock()
	if victim != nil {
		l.closed(limit)
		shut(victim.Conn)
	}
}

// victimLocked gives what makes room for one more connection of an address; nil if there
// is room.
func (l *Limiter) victimLocked(newcomer netip.Addr) (victim *connection, limit string) {
	if own := l.addresses[newcomer]; len(own) >= PerAddress {
		return choose(nil, own), LimitAddress
	}
	if len(l.known) < l.total {
		return nil, ""
	}
	most := 0
	for _, of := range l.addresses {
		most = max(most, len(of))
	}
	for _, of := range l.addresses {
		if len(of) == most {
			victim = choose(victim, of)
		}
	}
	return victim, LimitTotal
}

// choose gives the connection that is missed least: the one that has been quiet for the
// longest, and the oldest if there is a call on each.
func choose(victim *connection, from map[*connection]bool) *connection {
	for c := range from {
		if victim == nil || c.quiet && !victim.quiet || c.quiet == victim.quiet && c.since.Before(victim.since) {
			victim = c
		}
	}
	return victim
}

func (l *Limiter) forgetLocked(c *connection) {
	delete(l.known, c.Conn)
	delete(l.addresses[c.address], c)
	if len(l.addresses[c.address]) == 0 {
		delete(l.addresses, c.address)
	}
}

// shut closes a connection without a farewell, for which TLS would wait for a peer that
// does not read.
func shut(conn net.Conn) {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close() // the peer may have closed it, too
}

// addressOf gives the peer's address. Connections that have none are taken as one peer's.
func addressOf(conn net.Conn) netip.Addr {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}
