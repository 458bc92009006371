package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"
)

// TrustBundle gives the CA certificates to trust, PEM: the current ones in their order,
// then those of the previous bundle that have not expired. Unreadable certificates of
// the previous bundle are dropped. A bundle without a current one is an error.
func TrustBundle(current, previous []byte, now time.Time) ([]byte, error) {
	certificates, err := certificatesOf(current)
	if err != nil {
		return nil, err
	}
	if len(certificates) == 0 {
		return nil, errors.New("there is no CA certificate (PEM) to trust")
	}
	old, _ := certificatesOf(previous) // unreadable ones are dropped
	for _, c := range old {
		if now.Before(c.NotAfter) {
			certificates = append(certificates, c)
		}
	}
	var bundle []byte
	var seen []*x509.Certificate
	for _, c := range certificates {
		if !slices.ContainsFunc(seen, c.Equal) {
			seen, bundle = append(seen, c), append(bundle, encode(c.Raw)...)
		}
	}
	return bundle, nil
}

// certificatesOf gives the readable certificates also with an error about others.
func certificatesOf(text []byte) (certificates []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, unreadable := x509.ParseCertificate(block.Bytes)
		if unreadable != nil {
			err = errors.Join(err, unreadable)
			continue
		}
		certificates = append(certificates, c)
	}
	return certificates, err
}

// Trusted reports whether a caller with that bundle trusts a certificate now.
func Trusted(pair *tls.Certificate, bundle []byte, now time.Time) bool {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, der := range pair.Certificate[1:] {
		intermediates.AppendCertsFromPEM(encode(der))
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	return err == nil
}
