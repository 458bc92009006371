package rig

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"k8s.io/client-go/rest"
)

// KubeDoor wraps the transport of one replica to the API server. A test uses it to
// change how the replica talks to the API server. next is the transport to the API
// server, and requests carry the replica's own credentials. Replicas count from 0.
type KubeDoor func(replica int, next http.RoundTripper) http.RoundTripper

// kubeProxy starts a proxy with the rig's KubeDoor and gives the configuration that
// leads through it. The proxy ends TLS with the rig's certificate. The API server
// still identifies the replica by its token.
func (r *Rig) kubeProxy(number int, rights *rest.Config) (*rest.Config, error) {
	next, err := rest.TransportFor(rest.AnonymousClientConfig(rights))
	if err != nil {
		return nil, fmt.Errorf("making the way to the API server: %w", err)
	}
	target, err := url.Parse(rights.Host)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	trusted, err := os.ReadFile(r.identity.authorityFile)
	if err != nil {
		return nil, fmt.Errorf("reading the rig's certificate: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a door to the API server: %w", err)
	}
	server := &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
			Transport:     r.KubeDoor(number, next),
			FlushInterval: -1, // a watch needs every event at once
			// A broken connection to the API server becomes one to the replica.
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
		TLSConfig: r.identity.serving(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0), // expected when a test kills a replica during a handshake
	}
	go server.ServeTLS(listener, "", "") //nolint:errcheck // stop ends it
	r.mu.Lock()
	r.proxies = append(r.proxies, server)
	r.mu.Unlock()
	through := rest.CopyConfig(rights)
	through.Host = "https://" + listener.Addr().String()
	through.CAData = trusted
	return through, nil
}
