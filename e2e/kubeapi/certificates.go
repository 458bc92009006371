package kubeapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLifetime is far longer than any test or demo.
const certificateLifetime = 365 * 24 * time.Hour

// Authority is the certificate authority of a short-lived cluster, for a test or a demo.
type Authority struct {
	PEM         []byte // its own certificate
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// KeyPair is a certificate and its private key, both in PEM.
type KeyPair struct{ Certificate, Key []byte }

// NewAuthority creates an authority with a new key.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating the key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "portlease test cluster"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(certificateLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of the authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of the authority: %w", err)
	}
	return &Authority{PEM: certificatePEM(der), certificate: certificate, key: key}, nil
}

// Serving issues a server certificate for the given addresses and DNS names.
func (a *Authority) Serving(name string, addresses []net.IP, names ...string) (KeyPair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses,
		DNSNames:    names,
	})
}

// Client issues a client certificate for a user in a group.
func (a *Authority) Client(user, group string) (KeyPair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: []string{group}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *Authority) issue(template *x509.Certificate) (KeyPair, error) {
	name := template.Subject.CommonName
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("generating the key of %s: %w", name, err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)); err != nil {
		return KeyPair{}, fmt.Errorf("drawing a serial number for %s: %w", name, err)
	}
	template.NotBefore = a.certificate.NotBefore
	template.NotAfter = a.certificate.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("signing the certificate of %s: %w", name, err)
	}
	secret, err := KeyPEM(key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("writing the key of %s: %w", name, err)
	}
	return KeyPair{Certificate: certificatePEM(der), Key: secret}, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// KeyPEM encodes a private key.
func KeyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// keyFiles are the paths of the API server's own keys and certificates.
type keyFiles struct {
	authority      string
	certificate    string
	key            string
	serviceAccount string
}

// writeKeys writes four files into dir: the authority's certificate, the API server's
// certificate and key, and the key that signs service account tokens.
func writeKeys(a *Authority, dir string) (keyFiles, error) {
	server, err := a.Serving("kube-apiserver", []net.IP{net.IPv4(127, 0, 0, 1)}, "localhost")
	if err != nil {
		return keyFiles{}, err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyFiles{}, fmt.Errorf("generating the service-account key: %w", err)
	}
	serviceAccount, err := KeyPEM(tokens)
	if err != nil {
		return keyFiles{}, fmt.Errorf("writing the service-account key: %w", err)
	}
	files := keyFiles{
		authority:      filepath.Join(dir, "authority.crt"),
		certificate:    filepath.Join(dir, "server.crt"),
		key:            filepath.Join(dir, "server.key"),
		serviceAccount: filepath.Join(dir, "service-account.key"),
	}
	for path, content := range map[string][]byte{
		files.authority:      a.PEM,
		files.certificate:    server.Certificate,
		files.key:            server.Key,
		files.serviceAccount: serviceAccount,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return keyFiles{}, fmt.Errorf("writing the API server's keys: %w", err)
		}
	}
	return files, nil
}
