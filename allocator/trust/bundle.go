package trust

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"
)

// Bundle gives the certificates to be trusted, PEM: the present ones in their
// order, and of those that were trusted before what has not ended yet. What cannot
// be read among the latter is left out. It is an error if none is present: to trust
// nobody is never what is meant.
func Bundle(present, before []byte, now time.Time) ([]byte, error) {
	certificates, err := certificatesOf(present)
	if err != nil {
		return nil, err
	}
	if len(certificates) == 0 {
		return nil, errors.New("there is no certificate (PEM) to trust")
	}
	former, _ := certificatesOf(before) // what can be read of it
	for _, c := range former {
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

// certificatesOf gives also what it could read before an error.
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

// Known tells whether whoever trusts a bundle believes a pair now.
func Known(pair *tls.Certificate, bundle []byte, now time.Time) bool {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, der := range pair.Certificate[1:] {
		intermediates.AppendCertsFromPEM(encode(der))
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	return err == nil
}
