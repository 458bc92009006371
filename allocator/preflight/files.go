package preflight

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/poolfile"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// Pools reads the pool file.
func (r *Report) Pools(path string) (poolfile.File, bool) {
	file, _, err := poolfile.Read(path)
	var names []string
	for _, p := range file.Pools {
		names = append(names, p.Name)
	}
	return file, r.judge("pool file", "pools "+strings.Join(names, ", "), err)
}

// TLS looks at the key pair that the API would be served with.
func (r *Report) TLS(certFile, keyFile string, plain bool, now time.Time) {
	const what = "TLS key pair"
	if plain {
		r.add(what, Warning, "none, by plain-http: tokens travel in the clear, so use it only where nobody can listen in")
		return
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		r.add(what, Wrong, "%v: correct tls-cert and tls-key", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		r.add(what, Wrong, "%v: correct tls-cert", err)
		return
	}
	names := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	until := fmt.Sprintf("for %s, until %s", strings.Join(names, ", "), leaf.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case now.Before(leaf.NotBefore):
		r.add(what, Wrong, "it is valid only from %s: look at the clocks", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		r.add(what, Wrong, "it expired on %s: renew it", leaf.NotAfter.UTC().Format(time.DateOnly))
	case len(names) == 0:
		r.add(what, Wrong, "it is for no name: agents look for the name they call the allocator by")
	case now.Add(soon).After(leaf.NotAfter):
		r.add(what, Warning, "%s: renew it", until)
	default:
		r.add(what, OK, "%s", until)
	}
}
