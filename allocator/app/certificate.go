package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/trust"
)

// heldFor is how long a pair waits that callers do not know by what they trusted
// so far. Its files and the ConfigMaps that tell callers of it come into pods at
// different times, within about a minute and a half (Kubernetes, "Secrets", mounted
// Secrets are updated automatically).
const heldFor = 5 * time.Minute

// certificate serves a key pair from files and follows their changes. A new pair
// that cannot be read leaves the old one in force, and is logged.
type certificate struct {
	certFile, keyFile string
	// caFile has what callers trust; empty: nobody knows.
	caFile string
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	trusted []byte // when pair was taken; PEM
	changed time.Time
	// held waits until heldSince is heldFor ago; nil: there is none.
	held      *tls.Certificate
	heldSince time.Time
	// refused is what was logged last, because the files are read again with
	// every handshake until they are good.
	refused string
}

func newCertificate(certFile, keyFile, caFile string, now func() time.Time, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, caFile: caFile, now: now, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.reloadLocked(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused := ""
	if err := c.reloadLocked(); err != nil {
		refused = err.Error()
	}
	if refused != "" && refused != c.refused {
		c.log.Warn("new TLS key pair not taken; the old one stays in force", "err", refused)
	}
	c.refused = refused
	if c.held != nil && (c.now().Sub(c.heldSince) >= heldFor || c.now().After(c.pair.Leaf.NotAfter)) {
		c.takeLocked(c.held)
		c.log.Info("new TLS key pair taken")
	}
	return c.pair, nil
}

// ready is nil: without a pair the process would not have started.
func (c *certificate) ready() error { return nil }

// ends is when the pair in force does.
func (c *certificate) ends() time.Time {
	pair, _ := c.get(nil) // it always has one
	return pair.Leaf.NotAfter
}

// authorities are what callers are to trust, PEM.
func (c *certificate) authorities() ([]byte, error) {
	text, err := os.ReadFile(c.caFile)
	if err != nil {
		return nil, fmt.Errorf("reading what callers trust: %w", err)
	}
	return text, nil
}

func (c *certificate) reloadLocked() error {
	file, err := os.Stat(c.certFile)
	if err != nil {
		return fmt.Errorf("reading the TLS certificate: %w", err)
	}
	if c.pair != nil && file.ModTime().Equal(c.changed) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the TLS key pair: %w", err)
	}
	c.changed = file.ModTime()
	if c.pair != nil && c.trusted != nil && !trust.Known(&pair, c.trusted, c.now()) {
		c.held, c.heldSince = &pair, c.now()
		c.log.Info("new TLS key pair of another authority; callers are told of it first", "for", heldFor)
		return nil
	}
	c.takeLocked(&pair)
	return nil
}

func (c *certificate) takeLocked(pair *tls.Certificate) {
	c.pair, c.held, c.trusted = pair, nil, nil
	if c.caFile == "" {
		return
	}
	// What cannot be read is said by whoever hands it on to callers.
	if text, err := c.authorities(); err == nil {
		c.trusted = text
	}
}
