package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/certs/pki"
	"github.com/portlease/portlease/shared/daemon"
)

const (
	// syncInterval is how often the shared Secret is read. A certificate that another
	// replica renewed is good for weeks, and so is the one before.
	syncInterval = 10 * time.Second
	// syncRetry is the interval after an error or a lost compare-and-swap.
	syncRetry = time.Second
)

// Managed is a Source that the replicas renew themselves and share in a Secret. Until
// it has read the Secret it serves a certificate that no caller trusts, so that the
// kubelet's probes are answered.
type Managed struct {
	secret *kubecerts.Secret
	names  []string
	now    func() time.Time
	log    *slog.Logger

	pair atomic.Pointer[tls.Certificate]
	// keys is what the Secret holds; nil before it was read.
	keys atomic.Pointer[pki.KeySet]
}

// NewManaged makes a Managed for those DNS names and addresses. Run keeps it up to date.
func NewManaged(secret *kubecerts.Secret, names []string, now func() time.Time, log *slog.Logger) (*Managed, error) {
	m := &Managed{secret: secret, names: names, now: now, log: log}
	temporary, _, err := pki.KeySet{}.Renew(names, now())
	if err != nil {
		return nil, err
	}
	return m, m.serve(temporary)
}

// GetCertificate implements Source.
func (m *Managed) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return m.pair.Load(), nil
}

// Ready implements Source.
func (m *Managed) Ready() error {
	if m.keys.Load() == nil {
		return errors.New("the Secret with the certificate has not been read yet")
	}
	return nil
}

// NotAfter implements Source.
func (m *Managed) NotAfter() time.Time { return m.pair.Load().Leaf.NotAfter }

// CACertificates implements Source.
func (m *Managed) CACertificates() ([]byte, error) {
	keys := m.keys.Load()
	if keys == nil {
		return nil, m.Ready()
	}
	return keys.CACertificates(), nil
}

// Run renews the certificates in the Secret and serves them, until ctx ends.
func (m *Managed) Run(ctx context.Context) error {
	logged := ""
	for {
		wait := syncInterval
		switch err := m.Sync(ctx); {
		case errors.Is(err, kubecerts.ErrConflict):
			wait = syncRetry
		case err != nil:
			wait = syncRetry
			if err.Error() != logged {
				m.log.ErrorContext(ctx, "serving certificate renewal failed; keeping the current one", "err", err)
			}
			logged = err.Error()
		default:
			logged = ""
		}
		if daemon.Sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// Sync reads the Secret once, renews what is due in it, and serves it. It returns
// kubecerts.ErrConflict if another replica wrote first.
func (m *Managed) Sync(ctx context.Context) error {
	keys, read, err := m.secret.Read(ctx)
	if err != nil {
		return err
	}
	next, changes, err := keys.Renew(m.names, m.now())
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		if err := m.secret.Write(ctx, next, read); err != nil {
			return err
		}
		m.log.InfoContext(ctx, "certificates renewed", "changes", changes)
	}
	if err := m.serve(next); err != nil {
		return err
	}
	m.keys.Store(&next)
	return nil
}

func (m *Managed) serve(keys pki.KeySet) error {
	pair, err := tls.X509KeyPair(keys.Serving.Certificate, keys.Serving.Key)
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
	}
	m.pair.Store(&pair)
	return nil
}
