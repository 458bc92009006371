// Package certs serves the allocator's TLS certificate and publishes the CA
// certificates that its callers trust.
//
// The certificate comes from files, which somebody else renews, or from a Secret,
// which the replicas renew themselves. Either way callers are told of a new CA before
// they meet a certificate of it. Package pki decides; package kubecerts is the way to
// the Kubernetes API.
package certs

import (
	"crypto/tls"
	"time"
)

// Source gives the certificate to serve. Its methods may be called concurrently.
type Source interface {
	// GetCertificate is for tls.Config.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Ready is an error while callers cannot trust the certificate.
	Ready() error
	// NotAfter is when the certificate expires.
	NotAfter() time.Time
	// CACertificates are those that callers have to trust, PEM.
	CACertificates() ([]byte, error)
}

// ServerConfig is how to serve the certificate of a source. Its key exchanges are not those that
// withstand quantum computers, which are half the cost of a handshake: they protect what must
// stay secret for years, and the tokens of pods are good for minutes.
func ServerConfig(s Source) *tls.Config {
	return &tls.Config{
		GetCertificate: s.GetCertificate, MinVersion: tls.VersionTLS12,
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
	}
}
