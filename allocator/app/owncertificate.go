package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/kubetrust"
	"github.com/portlease/portlease/allocator/trust"
	"github.com/portlease/portlease/shared/daemon"
)

const (
	// ownEvery is how often the shared Secret is read. A certificate that another
	// replica made is good for weeks, and so is the one before.
	ownEvery = 10 * time.Second
	// ownRetry is how soon again when that failed, or somebody else was faster.
	ownRetry = time.Second
)

// ownCertificate serves what the replicas make themselves and share in a Secret.
// Until that has been read once it serves something that nobody trusts, so that
// probes are answered.
type ownCertificate struct {
	secret *kubetrust.Secret
	names  []string
	now    func() time.Time
	log    *slog.Logger

	pair atomic.Pointer[tls.Certificate]
	// store is what lies in the Secret; nil before it was read.
	store atomic.Pointer[trust.Store]
}

func newOwnCertificate(secret *kubetrust.Secret, names []string, now func() time.Time, log *slog.Logger) (*ownCertificate, error) {
	o := &ownCertificate{secret: secret, names: names, now: now, log: log}
	stopgap, _, err := trust.Store{}.Renew(names, now())
	if err != nil {
		return nil, err
	}
	return o, o.serve(stopgap)
}

func (o *ownCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return o.pair.Load(), nil
}

func (o *ownCertificate) ready() error {
	if o.store.Load() == nil {
		return errors.New("the certificate has not been read yet")
	}
	return nil
}

func (o *ownCertificate) ends() time.Time { return o.pair.Load().Leaf.NotAfter }

func (o *ownCertificate) authorities() ([]byte, error) {
	store := o.store.Load()
	if store == nil {
		return nil, o.ready()
	}
	return store.Authorities(), nil
}

// follow keeps the Secret as it should be, and serves what is in it, until ctx
// ends.
func (o *ownCertificate) follow(ctx context.Context) error {
	said := ""
	for {
		again := ownEvery
		switch err := o.keep(ctx); {
		case errors.Is(err, kubetrust.ErrConflict):
			again = ownRetry
		case err != nil:
			again = ownRetry
			if err.Error() != said {
				o.log.ErrorContext(ctx, "certificate not kept; what is served stays", "err", err)
			}
			said = err.Error()
		default:
			said = ""
		}
		if daemon.Sleep(ctx, again) != nil {
			return nil
		}
	}
}

func (o *ownCertificate) keep(ctx context.Context) error {
	store, read, err := o.secret.Read(ctx)
	if err != nil {
		return err
	}
	next, changes, err := store.Renew(o.names, o.now())
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		if err := o.secret.Write(ctx, next, read); err != nil {
			return err
		}
		o.log.InfoContext(ctx, "certificates changed", "changes", changes)
	}
	if err := o.serve(next); err != nil {
		return err
	}
	o.store.Store(&next)
	return nil
}

func (o *ownCertificate) serve(s trust.Store) error {
	pair, err := tls.X509KeyPair(s.Serving.Certificate, s.Serving.Key)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	o.pair.Store(&pair)
	return nil
}
