package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// newTransport makes a transport with few idle connections: an agent calls one host every
// half minute.
func newTransport(caFile string) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: attemptTimeout,
		MaxIdleConnsPerHost:   2,
		// Longer than the renewal interval, so that renewals share a connection. An allocator
		// with many callers closes it after each call.
		IdleConnTimeout:   90 * time.Second,
		ForceAttemptHTTP2: true,
	}
	if caFile == "" {
		return transport, nil
	}
	pool, err := readCertPool(caFile)
	if err != nil {
		return nil, err
	}
	// Connections through a proxy do not use DialTLSContext. They trust the certificates
	// that the file had at the start.
	transport.TLSClientConfig = tlsConfig(pool)
	transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		pool, err := readCertPool(caFile)
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: dialer, Config: tlsConfig(pool)}).DialContext(ctx, network, address)
	}
	return transport, nil
}

func tlsConfig(pool *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}}
}

func readCertPool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the file is a setting
	if err != nil {
		return nil, fmt.Errorf("reading the allocator's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the allocator's CA: %s has no PEM certificate", file)
	}
	return pool, nil
}

// bearer adds the token that the file has now.
type bearer struct {
	file string
	next http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(b.file)
	if err == nil && strings.TrimSpace(string(token)) == "" {
		err = fmt.Errorf("%s is empty", b.file)
	}
	if err != nil {
		if r.Body != nil {
			err = errors.Join(err, r.Body.Close())
		}
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return b.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client reach the wrapped transport.
func (b bearer) CloseIdleConnections() {
	if closer, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
