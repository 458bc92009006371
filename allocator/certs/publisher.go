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
	ConfigMaps kubecerts.ConfigMaps
	// Namespace is the allocator's. Its ConfigMap remembers the previous CAs; the
	// others are copies of it.
	Namespace string
	// CallerNamespaces are the other namespaces with callers.
	CallerNamespaces []string
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
// namespaces are outdated.
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

// Publish updates all ConfigMaps once, and gives how many namespaces it failed for.
// It is not safe for concurrent use.
func (p *Publisher) Publish(ctx context.Context) (outdated int) {
	bundle, err := p.publishOwn(ctx)
	p.logOnce(ctx, p.Namespace, err)
	if err != nil {
		outdated++
	}
	if bundle == nil {
		return outdated + len(p.CallerNamespaces)
	}
	for _, namespace := range p.CallerNamespaces {
		err := p.publishTo(ctx, namespace, bundle)
		p.logOnce(ctx, namespace, err)
		if err != nil {
			outdated++
		}
	}
	return outdated
}

// publishOwn gives the bundle even if it could not be written. It is nil if the
// previous CAs are not known.
func (p *Publisher) publishOwn(ctx context.Context) ([]byte, error) {
	current, err := p.CACertificates()
	if err != nil {
		return nil, err
	}
	own, err := p.ConfigMaps.Read(ctx, p.Namespace)
	if err != nil {
		return nil, err
	}
	bundle, err := pki.TrustBundle(current, own.Certificates(), p.Now())
	if err != nil {
		return nil, err
	}
	return bundle, p.write(ctx, own, p.Namespace, bundle)
}

func (p *Publisher) publishTo(ctx context.Context, namespace string, bundle []byte) error {
	found, err := p.ConfigMaps.Read(ctx, namespace)
	if err != nil {
		return err
	}
	return p.write(ctx, found, namespace, bundle)
}

func (p *Publisher) write(ctx context.Context, found *kubecerts.Bundle, namespace string, bundle []byte) error {
	changed, err := found.Write(ctx, bundle)
	if changed {
		p.Log.InfoContext(ctx, "trust bundle published", "namespace", namespace)
	}
	return err
}

// logOnce logs an error of a namespace, unless it was the last one there.
func (p *Publisher) logOnce(ctx context.Context, namespace string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != p.logged[namespace] {
		p.Log.ErrorContext(ctx, "failed to publish the trust bundle; new agents in this namespace wait for it", "namespace", namespace, "err", err)
	}
	p.logged[namespace] = text
}
