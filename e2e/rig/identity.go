package rig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/portlease/portlease/e2e/kubeapi"
)

// identity is a rig's certificate and the CA that signed it. Every replica and gate
// serves with the certificate, and every agent trusts the CA. It covers the replicas'
// addresses and 127.0.0.1, where the gates listen.
type identity struct {
	certFile, keyFile, authorityFile string
	pair                             tls.Certificate
	pool                             *x509.CertPool
}

func newIdentity(dir string, replicas []netip.Addr) (*identity, error) {
	authority, err := kubeapi.NewAuthority()
	if err != nil {
		return nil, err
	}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, a := range replicas {
		addresses = append(addresses, a.AsSlice())
	}
	serving, err := authority.Serving("portlease rig", addresses)
	if err != nil {
		return nil, err
	}
	i := &identity{
		certFile: filepath.Join(dir, "allocator.crt"), keyFile: filepath.Join(dir, "allocator.key"), authorityFile: filepath.Join(dir, "authority.crt"),
		pool: x509.NewCertPool(),
	}
	if i.pair, err = tls.X509KeyPair(serving.Certificate, serving.Key); err != nil {
		return nil, fmt.Errorf("pairing the certificate: %w", err)
	}
	i.pool.AppendCertsFromPEM(authority.PEM)
	if err := errors.Join(
		os.WriteFile(i.certFile, serving.Certificate, 0o600),
		os.WriteFile(i.keyFile, serving.Key, 0o600),
		os.WriteFile(i.authorityFile, authority.PEM, 0o600),
	); err != nil {
		return nil, fmt.Errorf("writing the certificates: %w", err)
	}
	return i, nil
}

// serving gives the TLS configuration of the rig's servers.
func (i *identity) serving() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.pair}, MinVersion: tls.VersionTLS12}
}
