// Package kubetrust keeps certificates in the Kubernetes API: those that the
// replicas serve with in a Secret that they share, and those to trust in a ConfigMap
// in each namespace that has callers.
//
// Writes are compare-and-swap by the API server. Nothing is watched: a Secret's
// name can be granted to get, and not well to watch.
package kubetrust

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/portlease/portlease/allocator/trust"
)

// ConfigMap is the name of the one that callers mount, and Certificates its key.
const (
	ConfigMap    = "portlease-ca"
	Certificates = "ca.crt"
)

// Keys of the Secret. The first two are those of every TLS Secret.
const (
	servingCertificate   = corev1.TLSCertKey
	servingKey           = corev1.TLSPrivateKeyKey
	authorityCertificate = "ca.crt"
	authorityKey         = "ca.key"
	nextCertificate      = "next-ca.crt"
	nextKey              = "next-ca.key"
)

// ErrConflict means that another replica wrote first: read and decide again.
var ErrConflict = errors.New("another replica wrote first")

// Secret is the one that the replicas share.
type Secret struct {
	api  typedcorev1.SecretInterface
	name string
}

// NewSecret names it; it need not exist.
func NewSecret(kube kubernetes.Interface, namespace, name string) *Secret {
	return &Secret{kube.CoreV1().Secrets(namespace), name}
}

// Read is a consistent read. The object goes back to Write; nil stands for none.
func (s *Secret) Read(ctx context.Context) (trust.Store, *corev1.Secret, error) {
	found, err := s.api.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return trust.Store{}, nil, nil
	}
	if err != nil {
		return trust.Store{}, nil, fmt.Errorf("reading secret %s: %w", s.name, err)
	}
	pair := func(certificate, key string) trust.Pair {
		return trust.Pair{Certificate: found.Data[certificate], Key: found.Data[key]}
	}
	return trust.Store{
		Authority: pair(authorityCertificate, authorityKey), Next: pair(nextCertificate, nextKey), Serving: pair(servingCertificate, servingKey),
	}, found, nil
}

// Write replaces what Read gave, unless somebody has written meanwhile: that is
// ErrConflict. After any other error the outcome is unknown.
func (s *Secret) Write(ctx context.Context, store trust.Store, read *corev1.Secret) error {
	next := read.DeepCopy()
	if next == nil {
		next = &corev1.Secret{Type: corev1.SecretTypeTLS}
		next.Name = s.name
		next.Labels = map[string]string{"app.kubernetes.io/name": "portlease", "app.kubernetes.io/managed-by": "portlease-allocator"}
	}
	if next.Data == nil {
		next.Data = make(map[string][]byte)
	}
	set := func(certificate, key string, pair trust.Pair) {
		if len(pair.Certificate) == 0 {
			delete(next.Data, certificate)
			delete(next.Data, key)
			return
		}
		next.Data[certificate], next.Data[key] = pair.Certificate, pair.Key
	}
	set(servingCertificate, servingKey, store.Serving)
	set(authorityCertificate, authorityKey, store.Authority)
	set(nextCertificate, nextKey, store.Next)
	var err error
	if read == nil {
		_, err = s.api.Create(ctx, next, metav1.CreateOptions{})
	} else {
		_, err = s.api.Update(ctx, next, metav1.UpdateOptions{})
	}
	return written(err, "secret "+s.name)
}

// written tells lost races from other errors.
func written(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fmt.Errorf("writing %s: %w", what, ErrConflict)
	}
	return fmt.Errorf("writing %s: %w", what, err)
}
