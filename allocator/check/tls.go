package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/certs/pki"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// keyPair is what the rows about TLS are called.
const keyPair = "TLS key pair"

// PlainHTTP says what it means to serve without TLS.
func (r *Report) PlainHTTP() {
	r.add(keyPair, Warning, "none, by plain-http: tokens travel in the clear, so use it only where nobody can listen in")
}

// TLSFiles looks at the key pair that lies in files.
func (r *Report) TLSFiles(certFile, keyFile string, now time.Time) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	r.serving(pair, err, now, "renew what tls-cert and tls-key name, which tls of the chart does")
}

// TLSSecret looks at the key pair that replicas keep in that Secret. read gives what
// is in it, and nil if there is no such Secret.
func (r *Report) TLSSecret(ctx context.Context, name string, read func(context.Context) (*pki.KeySet, error), now time.Time) {
	keys, err := read(ctx)
	if err != nil {
		r.add(keyPair, Wrong, "%v", err)
		return
	}
	if keys == nil {
		r.add(keyPair, OK, "secret %s is made at the first start", name)
		return
	}
	pair, err := tls.X509KeyPair(keys.Serving.Certificate, keys.Serving.Key)
	r.serving(pair, err, now, "an allocator that runs with tls-secret "+name+" makes it anew, or says in its log why it cannot")
}

// serving judges what the API would be served with, or the error that reading it
// gave.
func (r *Report) serving(pair tls.Certificate, err error, now time.Time, remedy string) {
	if err != nil {
		r.add(keyPair, Wrong, "%v: %s", err, remedy)
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
		r.add(keyPair, Wrong, "it is valid only from %s: look at the clocks", from.Format(time.RFC3339))
	case now.After(until):
		r.add(keyPair, Wrong, "it expired on %s: %s", until.Format(time.DateOnly), remedy)
	case len(names) == 0:
		r.add(keyPair, Wrong, "it is for no name, and agents look for the name they call the allocator by: %s", remedy)
	case now.Add(soon).After(until):
		r.add(keyPair, Warning, "%s: %s", found, remedy)
	default:
		r.add(keyPair, OK, "%s", found)
	}
}
