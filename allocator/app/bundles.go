package app

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubetrust"
	"github.com/portlease/portlease/allocator/trust"
	"github.com/portlease/portlease/shared/daemon"
)

const (
	// bundlesEvery is how often the ConfigMaps are looked at, bundlesTick how soon
	// a new leader does.
	bundlesEvery = 10 * time.Second
	bundlesTick  = time.Second
)

// bundles hands what callers trust to the namespaces where callers are. The
// ConfigMap in the allocator's own namespace says which authorities there were
// before; the others are as it is.
type bundles struct {
	kube      kubernetes.Interface
	namespace string
	// callers has the other namespaces.
	callers     []string
	authorities func() ([]byte, error)
	now         func() time.Time
	log         *slog.Logger

	// said has what was logged last for a namespace.
	said map[string]string
}

// follow keeps the ConfigMaps while this replica leads, until ctx ends.
func (b *bundles) follow(ctx context.Context, leading func() bool, behind func(namespaces int)) error {
	var next time.Time // zero is at once
	for {
		switch {
		case !leading():
			next = time.Time{}
		case !time.Now().Before(next):
			behind(b.keep(ctx))
			next = time.Now().Add(bundlesEvery)
		}
		if daemon.Sleep(ctx, bundlesTick) != nil {
			return nil
		}
	}
}

// keep makes all ConfigMaps as they should be and tells of how many it could not.
func (b *bundles) keep(ctx context.Context) (behind int) {
	bundle, err := b.keepOwn(ctx)
	b.say(ctx, b.namespace, err)
	if err != nil {
		behind++
	}
	if bundle == nil {
		return behind + len(b.callers)
	}
	for _, namespace := range b.callers {
		err := b.keepOne(ctx, namespace, bundle)
		b.say(ctx, namespace, err)
		if err != nil {
			behind++
		}
	}
	return behind
}

// keepOwn gives the bundle even if it could not be written down; nil if nobody
// knows which authorities there were before.
func (b *bundles) keepOwn(ctx context.Context) ([]byte, error) {
	present, err := b.authorities()
	if err != nil {
		return nil, err
	}
	own, err := kubetrust.ReadBundle(ctx, b.kube, b.namespace)
	if err != nil {
		return nil, err
	}
	bundle, err := trust.Bundle(present, own.Certificates(), b.now())
	if err != nil {
		return nil, err
	}
	return bundle, b.write(ctx, own, b.namespace, bundle)
}

func (b *bundles) keepOne(ctx context.Context, namespace string, bundle []byte) error {
	found, err := kubetrust.ReadBundle(ctx, b.kube, namespace)
	if err != nil {
		return err
	}
	return b.write(ctx, found, namespace, bundle)
}

func (b *bundles) write(ctx context.Context, found *kubetrust.Bundle, namespace string, bundle []byte) error {
	changed, err := found.Write(ctx, bundle)
	if changed {
		b.log.InfoContext(ctx, "certificates to trust written", "namespace", namespace)
	}
	return err
}

// say logs an error once, until there is another or none.
func (b *bundles) say(ctx context.Context, namespace string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != b.said[namespace] {
		b.log.ErrorContext(ctx, "certificates to trust not handed on; agents that start there wait", "namespace", namespace, "err", err)
	}
	b.said[namespace] = text
}
