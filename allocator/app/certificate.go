package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate serves a key pair from files and follows their changes. A new pair
// that cannot be read leaves the old one in force, and is logged.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time
	// refused is what was logged last, because the files are read again with
	// every handshake until they are good.
	refused string
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
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
	return c.pair, nil
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
	c.pair, c.changed = &pair, file.ModTime()
	return nil
}
