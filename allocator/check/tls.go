package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/certs/pki"
)

// expiryWarning is how long before its expiry a certificate is worth a warning.
const expiryWarning = 14 * 24 * time.Hour

// keyPair is the name of the TLS check.
const keyPair = "TLS key pair"

// PlainHTTP warns of serving without TLS.
func (r *Report) PlainHTTP() {
	r.add(keyPair, Warning, "none, because of plain-http: tokens travel in the clear, so use it only in a trusted network")
}

// TLSFiles checks a key pair in files.
func (r *Report) TLSFiles(certFile, keyFile string, now time.Time) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	r.serving(pair, err, now, "renew the files of tls-cert and tls-key, as the chart does with its value tls")
}

// TLSSecret checks the key pair that the replicas keep in a Secret. read gives its
// content, or nil if there is no such Secret.
func (r *Report) TLSSecret(ctx context.Context, name string, read func(context.Context) (*pki.KeySet, error), now time.Time) {
	keys, err := read(ctx)
	if err != nil {
		r.add(keyPair, Error, "%v", err)
		return
	}
	if keys == nil {
		r.add(keyPair, OK, "the first start creates secret %s", name)
		return
	}
	pair, err := tls.X509KeyPair(keys.Serving.Certificate, keys.Serving.Key)
	r.serving(pair, err, now, "a running allocator with tls-secret "+name+" renews it, or logs why it cannot")
}

// serving checks the key pair that the API would be served with, or the error of
// reading it.
func (r *Report) serving(pair tls.Certificate, err error, now time.Time, remedy string) {
	if err != nil {
		r.add(keyPair, Error, "%v: %s", err, remedy)
		return
	}
	names := pair.Leaf.DNSNames
	for _, ip := range pair.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	from, until := pair.Leaf.NotBefore.UTC(), pair.Leaf.NotAfter.UTC()
	found := fmt.Sprintf("for %s, until %s", strings.Join(names, ", "), until.Format(time.DateOnly))
	switch {
	case now.Before(from):
		r.add(keyPair, Error, "it is valid only from %s: check the clocks", from.Format(time.RFC3339))
	case now.After(until):
		r.add(keyPair, Error, "it expired on %s: %s", until.Format(time.DateOnly), remedy)
	case len(names) == 0:
		r.add(keyPair, Error, "it has no name, and agents verify the name of the allocator: %s", remedy)
	case now.Add(expiryWarning).After(until):
		r.add(keyPair, Warning, "%s: %s", found, remedy)
	default:
		r.add(keyPair, OK, "%s", found)
	}
}
