package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Limits of a Server: a slow or idle peer cannot hold a connection for ever. The slowest
// answer takes a third of writeTimeout. The longest header is a bearer token of some 2 KB.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	defaultGrace      = 5 * time.Second
)

// Server serves HTTP until its context ends.
type Server struct {
	Handler http.Handler
	// TLS makes it HTTPS; nil means plain HTTP.
	TLS *tls.Config
	// Grace is how long requests in flight may take after the context has ended; 0 means
	// 5 s.
	Grace time.Duration
	// ConnState is told of every connection's changes, as in http.Server; it may be nil.
	ConnState func(net.Conn, http.ConnState)
	// Log receives the errors of net/http, as warnings, except failed TLS handshakes.
	Log *slog.Logger
}

// Run serves on listener, which it closes, until ctx ends. It returns nil after a graceful
// stop, and an error if it could not serve or if requests were still in flight after Grace.
func (s Server) Run(ctx context.Context, listener net.Listener) error {
	grace := s.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	// Each caller has one connection and one request at a time. HTTP/1.1 serves that with
	// less work: a goroutine whose stack stays grown, and no framing.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Protocols:         protocols,
		Handler:           s.Handler,
		TLSConfig:         s.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.ConnState,
	}
	if s.Log != nil {
		server.ErrorLog = log.New(serverErrors{s.Log}, "", 0)
	}
	served := make(chan error, 1)
	go func() {
		if s.TLS != nil {
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		err = fmt.Errorf("stopping HTTP on %s: %w", listener.Addr(), err)
		return errors.Join(err, server.Close(), ignoreClosed(<-served))
	}
	return ignoreClosed(<-served)
}

// serverErrors logs what net/http reports. Failed TLS handshakes are for debugging:
// anybody can cause as many as they like.
type serverErrors struct{ log *slog.Logger }

// Write implements io.Writer.
func (e serverErrors) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.Contains(line, []byte("TLS handshake error")) {
		level = slog.LevelDebug
	}
	e.log.Log(context.Background(), level, "HTTP server error", "err", string(bytes.TrimSpace(line)))
	return len(line), nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Check returns nil if the process is fine, or the reason if it is not.
type Check func(context.Context) error

// Probe answers 200 while check returns nil, and otherwise 503 with the reason as plain
// text. A nil check always passes.
func Probe(check Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		status, text := http.StatusOK, "ok"
		if check != nil {
			if err := check(r.Context()); err != nil {
				status, text = http.StatusServiceUnavailable, err.Error()
			}
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintln(w, text) // it fails only if the peer has gone
	})
}

// Metrics serves the set and the metrics of the process (memory, CPU, file descriptors,
// goroutines) in the Prometheus text format.
func Metrics(set *metrics.Set) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
}
