package certs

import (
	"context"
	"log/slog"
	"time"

	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/certs/pki"
	"github.com/portlease/portlease/shared/daemon"
)

const (
	// publishInterval is how often the ConfigMaps are checked, leaderPoll how soon a
	// new leader checks them.
	publishInterval = 10 * time.Second
	leaderPoll      = time.Second
)

// PublisherConfig is what a Publisher needs; all of it is required.
type PublisherConfig struct {
	// Trust remembers the previous CAs. The ConfigMaps are copies of it, which others
	// may write, so nothing is ever read back from them.
	Trust      kubecerts.Trust
	ConfigMaps kubecerts.ConfigMaps
	// Namespaces get a ConfigMap: the allocator's own and those with callers.
	Namespaces []string
	// CACertificates are the current ones, PEM.
	CACertificates func() ([]byte, error)
	Now            func() time.Time
	Log            *slog.Logger
}

// Publisher keeps the trust bundle in a ConfigMap of every namespace with callers.
type Publisher struct {
	PublisherConfig
	// logged is namespace → the error that was logged last.
	logged map[string]string
}

// NewPublisher makes a Publisher.
func NewPublisher(c PublisherConfig) *Publisher {
	return &Publisher{PublisherConfig: c, logged: make(map[string]string)}
}

// Run publishes while this replica leads, until ctx ends. It reports how many
// objects are outdated.
func (p *Publisher) Run(ctx context.Context, leading func() bool, report func(outdated int)) error {
	var next time.Time // zero is at once
	for {
		switch {
		case !leading():
			next = time.Time{}
		case !time.Now().Before(next):
			report(p.Publish(ctx))
			next = time.Now().Add(publishInterval)
		}
		if daemon.Sleep(ctx, leaderPoll) != nil {
			return nil
		}
	}
}

// Publish updates the Secret and all ConfigMaps once, and gives how many of them it failed
// for. It is not safe for concurrent use.
func (p *Publisher) Publish(ctx context.Context) (outdated int) {
	bundle, err := p.remember(ctx)
	if p.isNew("", err) {
		p.Log.ErrorContext(ctx, "failed to keep the trust bundle; certificates of earlier CAs may not be trusted later", "namespace", "", "err", err)
	}
	if bundle == nil {
		return len(p.Namespaces)
	}
	if err != nil {
		outdated++
	}
	for _, namespace := range p.Namespaces {
		err := p.publishTo(ctx, namespace, bundle)
		if p.isNew(namespace, err) {
			p.Log.ErrorContext(ctx, "failed to publish the trust bundle; new agents in this namespace wait for it", "namespace", namespace, "err", err)
		}
		if err != nil {
			outdated++
		}
	}
	return outdated
}

// remember gives the trust bundle, even if it could not be written: callers need the
// current CAs. It is nil if the previous CAs are not known.
func (p *Publisher) remember(ctx context.Context) ([]byte, error) {
	current, err := p.CACertificates()
	if err != nil {
		return nil, err
	}
	previous, read, err := p.Trust.Read(ctx)
	if err != nil {
		return nil, err
	}
	bundle, err := pki.TrustBundle(current, previous, p.Now())
	if err != nil {
		return nil, err
	}
	return bundle, p.Trust.Write(ctx, bundle, read)
}

func (p *Publisher) publishTo(ctx context.Context, namespace string, bundle []byte) error {
	found, err := p.ConfigMaps.Read(ctx, namespace)
	if err != nil {
		return err
	}
	changed, err := found.Write(ctx, bundle)
	if changed {
		p.Log.InfoContext(ctx, "trust bundle published", "namespace", namespace)
	}
	return err
}

// isNew notes an error of a namespace, and tells whether it is another than the last one
// there. An empty namespace is the Secret.
func (p *Publisher) isNew(namespace string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	last := p.logged[namespace]
	p.logged[namespace] = text
	return err != nil && text != last
}
