package app

import (
	"crypto/tls"
	"log/slog"
)

// Certificate gives what a TLS server asks for its key pair.
func Certificate(certFile, keyFile string, log *slog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	c, err := newCertificate(certFile, keyFile, log)
	if err != nil {
		return nil, err
	}
	return c.get, nil
}
