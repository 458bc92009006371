// Command elbemu serves the Elastic Load Balancing v2 emulator over HTTP. AWS SDKs and the
// aws command line only need its endpoint.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
)

const (
	exitFailure = 1
	exitUsage   = 2
	// stopPatience bounds the wait for running calls on shutdown.
	stopPatience = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "elbemu:", err)
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	o.cfg.Log = log
	emulator, err := elbemu.New(o.cfg)
	if err != nil {
		fmt.Fprintln(stderr, "elbemu:", err)
		return exitUsage
	}
	for _, r := range o.principals {
		if err := emulator.Restrict(r.key, r.who); err != nil {
			fmt.Fprintln(stderr, "elbemu:", err)
			return exitUsage
		}
	}
	if err := serve(ctx, o, emulator, stdout, log); err != nil {
		log.ErrorContext(ctx, "elbemu failed", "err", err)
		return exitFailure
	}
	return 0
}

// serve answers calls until ctx ends, then waits for running calls.
func serve(ctx context.Context, o options, emulator *elbemu.Emulator, stdout io.Writer, log *slog.Logger) error {
	socket, err := net.Listen("tcp", o.listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listening on -listen %s (choose a free address): %w", o.listen, err), emulator.Close())
	}
	printUsage(stdout, "http://"+socket.Addr().String(), o)
	server := &http.Server{Handler: logged(withPrincipals(emulator, emulator), log), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(socket) }()
	log.InfoContext(ctx, "elbemu started", "listen", socket.Addr().String(), "profile", string(o.cfg.Profile), "dataPlane", o.cfg.DataPlane)
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serving: %w", err), emulator.Close())
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	closing := emulator.Close() // also ends hanging calls
	stopping := server.Shutdown(patience)
	log.InfoContext(ctx, "elbemu stopped")
	return errors.Join(closing, stopping)
}

// logged logs every call when it is done.
func logged(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		counted := &statusWriter{ResponseWriter: w}
		defer func() {
			log.InfoContext(r.Context(), "call served", "remote", r.RemoteAddr, "action", counted.Header().Get(elbemu.ActionHeader), "status", counted.status, "code", counted.Header().Get(elbemu.CodeHeader), "took", time.Since(begun))
		}()
		next.ServeHTTP(counted, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int // zero if the connection was cut
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
