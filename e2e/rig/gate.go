package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/e2e/elbemu"
)

// idleTimeout is how long the rig keeps an idle connection. Each has two file descriptors of
// this process, or four through a link, and a thousand pods have some to each replica.
const idleTimeout = 5 * time.Second

// gate is the proxy between one agent and an HTTP service. It lets a test see each
// call, cut the connection, and inject faults.
type gate struct {
	server *http.Server
	// host gives the service's address for the next call.
	host func() string
	next http.RoundTripper
	cut  atomic.Bool

	mu    sync.Mutex
	fault func(*http.Request) CallFault
}

// allocatorGate spreads calls over the running replicas, as a Service does. They come from
// that address.
func (r *Rig) allocatorGate(from string) (*gate, error) {
	next := new(atomic.Uint64)
	return r.newGate(func() string { return r.replicaAddress(next) }, checked{r, r.toAllocator(from)}, 0)
}

// kubeGate leads to the API server, which identifies the agent by its token.
func (r *Rig) kubeGate(rights *rest.Config) (*gate, error) {
	target, _, err := rest.DefaultServerUrlFor(rights)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	return r.newGate(func() string { return target.Host }, r.kube, idleTimeout) // agents write on their pods rarely
}

// newGate opens a gate. Connections that are idle for longer are closed; 0 keeps them.
func (r *Rig) newGate(host func() string, next http.RoundTripper, idle time.Duration) (*gate, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a gate: %w", err)
	}
	g := &gate{host: host, next: next}
	g.server = &http.Server{
		Handler: g, Addr: listener.Addr().String(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: idle,
		TLSConfig: r.identity.serving(),
		ErrorLog:  log.New(io.Discard, "", 0), // expected when a test kills an agent during a handshake
	}
	go g.server.ServeTLS(listener, "", "") //nolint:errcheck // close ends it
	return g, nil
}

// replicaAddress picks the next running replica, or any if none runs.
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

// ServeHTTP handles a call as its fault says.
func (g *gate) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if g.cut.Load() {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f := g.faultOf(req)
	if f.Before != nil {
		f.Before()
	}
	send := func(ctx context.Context) (reply, error) { return g.send(ctx, req, body) }
	answer := reply{status: f.Status, header: http.Header{}}
	switch f.Apply {
	case elbemu.ApplyNow:
		if answer, err = send(req.Context()); err != nil {
			panic(http.ErrAbortHandler) // a broken connection to the service becomes one to the agent
		}
		if f.After != nil {
			f.After(answer.status)
		}
	case elbemu.ApplyLater:
		f.Held.arrive(send)
	case elbemu.ApplyNever:
	}
	switch f.Answer {
	case elbemu.AnswerError:
		if f.Status == http.StatusTooManyRequests {
			answer.header.Set("Retry-After", "1")
		}
	case elbemu.AnswerHang:
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	case elbemu.AnswerNone:
		panic(http.ErrAbortHandler)
	case elbemu.AnswerTrue:
	}
	answer.write(w)
}

// send sends a call to the service.
func (g *gate) send(ctx context.Context, req *http.Request, body []byte) (reply, error) {
	onward := req.Clone(ctx)
	onward.URL.Scheme, onward.URL.Host = "https", g.host()
	onward.Host, onward.RequestURI = "", ""
	onward.Header.Del("Connection")
	onward.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := g.next.RoundTrip(onward)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: text}, err
}

// reply is the complete answer of a service.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (a reply) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the agent may be gone, so the error does not matter
}

func (g *gate) faultOf(req *http.Request) CallFault {
	g.mu.Lock()
	fault := g.fault
	g.mu.Unlock()
	if fault == nil {
		return CallFault{}
	}
	return fault(req)
}

func (g *gate) setFault(f func(*http.Request) CallFault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
}

func (g *gate) close() error {
	if err := g.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("closing a gate: %w", err)
	}
	return nil
}
