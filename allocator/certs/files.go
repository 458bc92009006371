package certs

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/certs/pki"
)

// newCAWait is how long a key pair of another CA waits before it is served. Its files
// and the ConfigMaps with its CA come into pods at different times, within about a
// minute and a half (Kubernetes, "Secrets", mounted Secrets are updated automatically).
const newCAWait = 5 * time.Minute

// Files is a Source that follows the files of a key pair: each handshake checks them. A
// new pair that cannot be loaded leaves the current one in force.
type Files struct {
	certFile, keyFile string
	// caFile has the certificates that callers trust; empty if that is not known.
	caFile string
	now    func() time.Time
	log    *slog.Logger

	mu   sync.Mutex // guards all below
	pair *tls.Certificate
	// trusted are the CA certificates when pair was put in force; PEM.
	trusted []byte
	// loaded is the modification time of the certificate that was loaded last.
	loaded time.Time
	// waiting is a pair of another CA, since waitingSince; nil: there is none.
	waiting      *tls.Certificate
	waitingSince time.Time
	// failure was logged last. The files are read again with every handshake until
	// they can be loaded.
	failure string
}

// NewFiles loads the files, which must be there.
func NewFiles(certFile, keyFile, caFile string, now func() time.Time, log *slog.Logger) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, caFile: caFile, now: now, log: log}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.reloadLocked(); err != nil {
		return nil, err
	}
	return f, nil
}

// GetCertificate implements Source.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	failure := ""
	if err := f.reloadLocked(); err != nil {
		failure = err.Error()
	}
	if failure != "" && failure != f.failure {
		f.log.Warn("failed to load the new TLS key pair; keeping the current one", "err", failure)
	}
	f.failure = failure
	if f.waiting != nil && (f.now().Sub(f.waitingSince) >= newCAWait || f.now().After(f.pair.Leaf.NotAfter)) {
		f.useLocked(f.waiting)
		f.log.Info("TLS key pair of the new CA in force")
	}
	return f.pair, nil
}

// Ready implements Source. It is nil: NewFiles fails without a pair.
func (f *Files) Ready() error { return nil }

// NotAfter implements Source.
func (f *Files) NotAfter() time.Time {
	pair, _ := f.GetCertificate(nil) // it always has one
	return pair.Leaf.NotAfter
}

// CACertificates implements Source.
func (f *Files) CACertificates() ([]byte, error) {
	text, err := os.ReadFile(f.caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA certificates: %w", err)
	}
	return text, nil
}

func (f *Files) reloadLocked() error {
	file, err := os.Stat(f.certFile)
	if err != nil {
		return fmt.Errorf("reading the TLS certificate: %w", err)
	}
	if f.pair != nil && file.ModTime().Equal(f.loaded) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return fmt.Errorf("reading the TLS key pair: %w", err)
	}
	f.loaded = file.ModTime()
	if f.pair != nil && f.trusted != nil && !pki.Trusted(&pair, f.trusted, f.now()) {
		f.waiting, f.waitingSince = &pair, f.now()
		f.log.Info("new TLS key pair is of another CA; waiting until callers trust it", "wait", newCAWait)
		return nil
	}
	f.useLocked(&pair)
	return nil
}

func (f *Files) useLocked(pair *tls.Certificate) {
	f.pair, f.waiting, f.trusted = pair, nil, nil
	if f.caFile == "" {
		return
	}
	// The Publisher logs a file that cannot be read.
	if text, err := f.CACertificates(); err == nil {
		f.trusted = text
	}
}
