package trust

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

// read gives the certificate if its key is there and fits.
func (p Pair) read() (*x509.Certificate, error) {
	if len(p.Certificate) == 0 && len(p.Key) == 0 {
		return nil, errors.New("there was none")
	}
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, fmt.Errorf("what was there could not be read: %w", err)
	}
	return pair.Leaf, nil
}

// authority is read for a pair that is to sign. One that is not valid yet is good:
// it was made by somebody whose clock is ahead.
func (p Pair) authority(now time.Time) (*x509.Certificate, error) {
	certificate, err := p.read()
	switch {
	case err != nil:
		return nil, err
	case !certificate.IsCA:
		return nil, errors.New("what was there is no authority")
	case now.After(certificate.NotAfter):
		return nil, fmt.Errorf("the former one ended %s", certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	return certificate, nil
}

// due tells that a third of its life is left, or less.
func due(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
}

// newAuthority has its own name, so that a verifier who has several under one name
// need not try each.
func newAuthority(now time.Time) (Pair, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "portlease " + rand.Text()[:8]}, NotAfter: now.Add(AuthorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return create(template, nil, nil, now)
}

// sign makes a certificate for names. Its authority is exchanged long before either
// ends.
func sign(authority Pair, names []string, now time.Time) (Pair, error) {
	by, err := tls.X509KeyPair(authority.Certificate, authority.Key)
	if err != nil {
		return Pair{}, fmt.Errorf("reading the authority: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "portlease-allocator"}, NotAfter: now.Add(ServingLife), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return create(template, by.Leaf, by.PrivateKey, now)
}

// create makes a key and a certificate for it, signed by parent or, if that is nil,
// by itself.
func create(template, parent *x509.Certificate, signer any, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return Pair{}, fmt.Errorf("making a serial number: %w", err)
	}
	template.NotBefore = now.Add(-backdate)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("making a certificate: %w", err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("writing a key: %w", err)
	}
	return Pair{
		Certificate: encode(der),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}),
	}, nil
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
