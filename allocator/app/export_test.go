package app

import (
	"crypto/tls"
	"log/slog"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// WithPrepaid marks looks that were paid for.
var WithPrepaid = withPrepaid

// Paced gives the door to ELBv2 whose looks are paid for.
func Paced(c *elb.Client, pay *pacer.Pacer) janitor.AWS { return paced{c, pay} }

// Certificate gives what a TLS server asks for its key pair.
func Certificate(certFile, keyFile string, log *slog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	c, err := newCertificate(certFile, keyFile, log)
	if err != nil {
		return nil, err
	}
	return c.get, nil
}
