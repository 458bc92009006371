package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

// link is the TCP proxy between two parts. A test can cut it, and slow it down.
type link struct {
	listener net.Listener
	// lag is by how many nanoseconds each answer comes later.
	lag atomic.Int64
	// target gives the address that a new connection goes to.
	target func() (string, error)
	cut    atomic.Bool
	wait   sync.WaitGroup

	mu sync.Mutex
	// conns has both ends of every open connection.
	conns map[net.Conn]bool
}

// newLink opens a link on loopback.
func (r *Rig) newLink(target func() (string, error)) (*link, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a link: %w", err)
	}
	l := &link{listener: listener, target: target, conns: make(map[net.Conn]bool)}
	r.mu.Lock()
	r.links = append(r.links, l)
	r.mu.Unlock()
	l.wait.Go(l.accept)
	return l, nil
}

// Addr gives the address that the part dials.
func (l *link) Addr() string { return l.listener.Addr().String() }

// Cut breaks all connections and refuses new ones until Heal.
func (l *link) Cut() {
	l.cut.Store(true)
	l.breakAll()
}

func (l *link) breakAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close() // the other side sees the closed connection
	}
}

// Slow makes answers come later by lag, on connections that are opened from now on. It breaks
// all others.
func (l *link) Slow(lag time.Duration) {
	l.lag.Store(int64(lag))
	l.breakAll()
}

// Heal lets connections through again.
func (l *link) Heal() { l.cut.Store(false) }

func (l *link) accept() {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wait.Go(func() { l.serve(c) })
	}
}

func (l *link) serve(near net.Conn) {
	defer near.Close() //nolint:errcheck // the error does not matter
	target, err := l.target()
	if err != nil || l.cut.Load() {
		return
	}
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
	if err != nil {
		return
	}
	defer far.Close() //nolint:errcheck // the error does not matter
	if !l.remember(near, far) {
		return
	}
	defer l.forget(near, far)
	done := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(far, near) // connections may break at any time
		done <- struct{}{}
	}()
	go func() {
		if lag := time.Duration(l.lag.Load()); lag > 0 {
			copyLater(near, far, lag)
		} else {
			_, _ = io.Copy(near, far)
		}
		done <- struct{}{}
	}()
	<-done
	_ = near.Close()
	_ = far.Close()
	<-done
}

// copyLater copies until one side is closed. What it reads it writes after lag, as a slow
// server or a long line does: many answers are on their way at once.
func copyLater(to io.Writer, from io.Reader, lag time.Duration) {
	type chunk struct {
		text []byte
		due  time.Time
	}
	late := make(chan chunk, 1024)
	go func() {
		defer close(late)
		for {
			text := make([]byte, 16<<10)
			n, err := from.Read(text)
			if n > 0 {
				late <- chunk{text[:n], time.Now().Add(lag)}
			}
			if err != nil {
				return
			}
		}
	}()
	var broken error
	for c := range late { // all of them, so that the reader ends
		time.Sleep(time.Until(c.due))
		if broken == nil {
			_, broken = to.Write(c.text)
		}
	}
}

func (l *link) remember(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut.Load() {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

func (l *link) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		delete(l.conns, c)
	}
}

func (l *link) close() error {
	err := l.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	l.Cut()
	l.wait.Wait()
	return err
}

// kubeLink writes a kubeconfig that reaches the API server through the replica's own
// link.
func (r *Rig) kubeLink(path string, rights *rest.Config) (*link, error) {
	target := strings.TrimPrefix(rights.Host, "https://")
	l, err := r.newLink(func() (string, error) { return target, nil })
	if err != nil {
		return nil, err
	}
	through := rest.CopyConfig(rights)
	through.Host = "https://" + l.Addr()
	if err := r.Kube.Kubeconfig(path, through); err != nil {
		return nil, err
	}
	return l, nil
}
