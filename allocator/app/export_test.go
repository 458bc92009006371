package app

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/kubetrust"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// WithPrepaid marks looks that were paid for.
var WithPrepaid = withPrepaid

// Paced gives the door to ELBv2 whose looks are paid for.
func Paced(c *elb.Client, pay *pacer.Pacer) janitor.AWS { return paced{c, pay} }

// Certificate gives what a TLS server asks for its key pair.
func Certificate(certFile, keyFile string, log *slog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	return TrustedCertificate(certFile, keyFile, "", time.Now, log)
}

// TrustedCertificate is Certificate for callers who trust what is in a file.
func TrustedCertificate(certFile, keyFile, caFile string, now func() time.Time, log *slog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	c, err := newCertificate(certFile, keyFile, caFile, now, log)
	if err != nil {
		return nil, err
	}
	return c.get, nil
}

// OwnCertificate is one replica's way to the Secret that all share. Keep is one look
// at it, Pair what is served.
type OwnCertificate struct{ *ownCertificate }

// NewOwnCertificate makes a replica that has not looked yet.
func NewOwnCertificate(secret *kubetrust.Secret, names []string, now func() time.Time, log *slog.Logger) (OwnCertificate, error) {
	o, err := newOwnCertificate(secret, names, now, log)
	return OwnCertificate{o}, err
}

// Keep looks once.
func (o OwnCertificate) Keep(ctx context.Context) error { return o.keep(ctx) }

// Ready is nil once what is served can be trusted.
func (o OwnCertificate) Ready() error { return o.ready() }

// TLS is what a server serves with.
func (o OwnCertificate) TLS() *tls.Config {
	return &tls.Config{GetCertificate: o.get, MinVersion: tls.VersionTLS12}
}

// HandOn makes the bundles of namespaces as they should be, and tells of how many it
// could not.
func (o OwnCertificate) HandOn(ctx context.Context, kube kubernetes.Interface, namespace string, callers []string) (behind int) {
	b := &bundles{kube: kube, namespace: namespace, callers: callers, authorities: o.authorities, now: o.now, log: o.log, said: make(map[string]string)}
	return b.keep(ctx)
}
