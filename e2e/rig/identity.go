package rig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// identity is the one certificate that every allocator replica of a rig serves
// with and every agent trusts. It is for the replicas' addresses and, for the
// gates before them, 127.0.0.1.
type identity struct {
	certFile, keyFile string
	certPEM           []byte
	pair              tls.Certificate
	pool              *x509.CertPool
}

func newIdentity(dir string, replicas []netip.Addr) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, a := range replicas {
		addresses = append(addresses, a.AsSlice())
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "portlease rig"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, IPAddresses: addresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing the key: %w", err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	i := &identity{certFile: filepath.Join(dir, "allocator.crt"), keyFile: filepath.Join(dir, "allocator.key"), certPEM: certPEM, pool: x509.NewCertPool()}
	if i.pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return nil, fmt.Errorf("pairing the certificate: %w", err)
	}
	i.pool.AppendCertsFromPEM(certPEM)
	if err := os.WriteFile(i.certFile, certPEM, 0o600); err != nil {
		return nil, fmt.Errorf("writing the certificate: %w", err)
	}
	if err := os.WriteFile(i.keyFile, keyPEM, 0o600); err != nil {
		return nil, fmt.Errorf("writing the key: %w", err)
	}
	return i, nil
}

// serving is how a server of the rig presents itself.
func (i *identity) serving() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.pair}, MinVersion: tls.VersionTLS12}
}
