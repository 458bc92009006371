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

// lifetime of every certificate: far longer than any test or demo.
const lifetime = 365 * 24 * time.Hour

// authority issues the certificates of one API server.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// keyPair is a certificate and its private key, both PEM.
type keyPair struct{ certificate, key []byte }

// keyFiles are the API server's own.
type keyFiles struct {
	authority      string
	certificate    string
	key            string
	serviceAccount string
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating the key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "portlease kubeapi"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(lifetime),
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
	return &authority{certificate: certificate, key: key, pem: certificatePEM(der)}, nil
}

// serving issues what a server on loopback presents.
func (a *authority) serving() (keyPair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"localhost"},
	})
}

// client issues what authenticates a user in a group.
func (a *authority) client(user, group string) (keyPair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: []string{group}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(template *x509.Certificate) (keyPair, error) {
	name := template.Subject.CommonName
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("generating the key of %s: %w", name, err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)); err != nil {
		return keyPair{}, fmt.Errorf("drawing a serial number for %s: %w", name, err)
	}
	template.NotBefore = a.certificate.NotBefore
	template.NotAfter = a.certificate.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("signing the certificate of %s: %w", name, err)
	}
	secret, err := keyPEM(key)
	if err != nil {
		return keyPair{}, fmt.Errorf("writing the key of %s: %w", name, err)
	}
	return keyPair{certificate: certificatePEM(der), key: secret}, nil
}

// writeKeys writes what the API server needs into dir: its authority's and its
// own certificate, its key, and the key that signs service-account tokens.
func (a *authority) writeKeys(dir string) (keyFiles, error) {
	server, err := a.serving()
	if err != nil {
		return keyFiles{}, err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyFiles{}, fmt.Errorf("generating the service-account key: %w", err)
	}
	serviceAccount, err := keyPEM(tokens)
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
		files.authority:      a.pem,
		files.certificate:    server.certificate,
		files.key:            server.key,
		files.serviceAccount: serviceAccount,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return keyFiles{}, fmt.Errorf("writing the API server's keys: %w", err)
		}
	}
	return files, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
