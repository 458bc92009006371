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

// newTransport makes a transport of few idle connections: an agent speaks to one
// host every half minute.
func newTransport(caFile string) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: attemptTimeout,
		MaxIdleConnsPerHost:   2,
		// Shorter than the renewals' interval lasts, a connection would be made
		// anew each time.
		IdleConnTimeout:   90 * time.Second,
		ForceAttemptHTTP2: true,
	}
	if caFile == "" {
		return transport, nil
	}
	pool, err := readPool(caFile)
	if err != nil {
		return nil, err
	}
	// A connection through a proxy does not come by DialTLSContext; it trusts what
	// the file held at the start.
	transport.TLSClientConfig = trusting(pool)
	transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		pool, err := readPool(caFile)
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: dialer, Config: trusting(pool)}).DialContext(ctx, network, address)
	}
	return transport, nil
}

func trusting(pool *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}}
}

func readPool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the file is a setting
	if err != nil {
		return nil, fmt.Errorf("reading the allocator's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the allocator's CA: %s holds no certificate in PEM", file)
	}
	return pool, nil
}

// bearer adds the token that the file holds now.
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

// CloseIdleConnections lets http.Client reach the transport behind.
func (b bearer) CloseIdleConnections() {
	if closer, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
