package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// read gives the certificate, if its key is there and matches.
func (p Pair) read() (*x509.Certificate, error) {
	if len(p.Certificate) == 0 && len(p.Key) == 0 {
		return nil, errors.New("there was none")
	}
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, fmt.Errorf("it could not be read: %w", err)
	}
	return pair.Leaf, nil
}

// readCA is read for a pair that has to sign. One that is not valid yet is usable: a
// replica whose clock is ahead created it.
func (p Pair) readCA(now time.Time) (*x509.Certificate, error) {
	certificate, err := p.read()
	switch {
	case err != nil:
		return nil, err
	case !certificate.IsCA:
		return nil, errors.New("it is not a CA")
	case now.After(certificate.NotAfter):
		return nil, fmt.Errorf("the previous one expired %s", certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	return certificate, nil
}

// renewalDue reports whether a third of the lifetime is left, or less.
func renewalDue(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
}

// newCA creates a CA with a unique name, so that a verifier with several CAs need not
// try each.
func newCA(now time.Time) (Pair, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "portlease " + rand.Text()[:8]}, NotAfter: now.Add(CALifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return create(template, nil, nil, now)
}

// sign creates a serving certificate for names. The CA is rotated long before either
// expires.
func sign(ca Pair, names []string, now time.Time) (Pair, error) {
	signer, err := tls.X509KeyPair(ca.Certificate, ca.Key)
	if err != nil {
		return Pair{}, fmt.Errorf("reading the CA: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "portlease-allocator"}, NotAfter: now.Add(ServingLifetime), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return create(template, signer.Leaf, signer.PrivateKey, now)
}

// create creates a key and a certificate for it, signed by parent or, if that is nil,
// by itself.
func create(template, parent *x509.Certificate, signer any, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("creating a key: %w", err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return Pair{}, fmt.Errorf("creating a serial number: %w", err)
	}
	template.NotBefore = now.Add(-backdate)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("creating a certificate: %w", err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encoding a key: %w", err)
	}
	return Pair{
		Certificate: encode(der),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}),
	}, nil
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
