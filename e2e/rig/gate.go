package rig

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Hook sees a call of one agent to the allocator. before runs when the call has
// left the agent, after when the allocator has answered and the agent does not
// know yet. Either may block or kill the agent; nil does nothing.
type Hook func(*http.Request) (before, after func())

// gate is one agent's way to the allocators: it spreads calls over the replicas
// that run, as a Service does, and lets a test see and cut each of them.
type gate struct {
	server *http.Server
	next   atomic.Uint64
	cut    atomic.Bool

	mu   sync.Mutex
	hook Hook
}

func (r *Rig) newGate() (*gate, error) {
	g := &gate{}
	backend := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			target := &url.URL{Scheme: "https", Host: r.replicaAddress(&g.next)}
			p.SetURL(target)
		},
		Transport:    checked{r, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.identity.pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: false}},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if g.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		before, after := g.hooks(req)
		before()
		answer := &delayed{ResponseWriter: w, first: after}
		backend.ServeHTTP(answer, req)
	})
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a gate: %w", err)
	}
	g.server = &http.Server{
		Handler: handler, Addr: listener.Addr().String(), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: r.identity.serving(),
		ErrorLog:  nil,
	}
	go g.server.ServeTLS(listener, "", "") //nolint:errcheck // close ends it
	return g, nil
}

// replicaAddress picks the next replica that runs; if none does, any.
func (r *Rig) replicaAddress(next *atomic.Uint64) string {
	n := uint64(len(r.Replicas))
	for range n {
		a := r.Replicas[next.Add(1)%n]
		if a.process.running() {
			return a.address
		}
	}
	return r.Replicas[0].address
}

func (g *gate) hooks(req *http.Request) (before, after func()) {
	g.mu.Lock()
	hook := g.hook
	g.mu.Unlock()
	if hook != nil {
		before, after = hook(req)
	}
	nothing := func() {}
	if before == nil {
		before = nothing
	}
	if after == nil {
		after = nothing
	}
	return before, after
}

func (g *gate) setHook(h Hook) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hook = h
}

func (g *gate) close() error {
	if err := g.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("closing a gate: %w", err)
	}
	return nil
}

// delayed calls first before the first byte of an answer is written.
type delayed struct {
	http.ResponseWriter
	once  sync.Once
	first func()
}

func (d *delayed) WriteHeader(status int) {
	d.once.Do(d.first)
	d.ResponseWriter.WriteHeader(status)
}

func (d *delayed) Write(b []byte) (int, error) {
	d.once.Do(d.first)
	return d.ResponseWriter.Write(b)
}
