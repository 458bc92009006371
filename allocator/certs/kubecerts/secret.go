// Package kubecerts keeps certificates in the Kubernetes API: the key set of the
// replicas in a shared Secret, the CA certificates to trust in another, and copies of
// those in a ConfigMap in each namespace with callers.
//
// Writes are compare-and-swap by the API server. Nothing is watched: RBAC limits get to
// one name, but watch only with a field selector.
package kubecerts

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/portlease/portlease/allocator/certs/pki"
)

// ConfigMap is the name of the ConfigMap that callers mount, and Certificates its key.
const (
	ConfigMap    = "portlease-ca"
	Certificates = "ca.crt"
)

// Keys of the Secret. The first two are those of every TLS Secret.
const (
	servingCertificate = corev1.TLSCertKey
	servingKey         = corev1.TLSPrivateKeyKey
	caCertificate      = "ca.crt"
	caKey              = "ca.key"
	nextCACertificate  = "next-ca.crt"
	nextCAKey          = "next-ca.key"
)

// ErrConflict is a lost compare-and-swap: read and decide again.
var ErrConflict = errors.New("another replica wrote first")

// Secret is the Secret that the replicas share.
type Secret struct {
	api  typedcorev1.SecretInterface
	name string
}

// NewSecret makes a Secret, which need not exist in the API server.
func NewSecret(kube kubernetes.Interface, namespace, name string) *Secret {
	return &Secret{kube.CoreV1().Secrets(namespace), name}
}

// Read is a consistent read. Its object is for Write; nil means that there is none.
func (s *Secret) Read(ctx context.Context) (pki.KeySet, *corev1.Secret, error) {
	found, err := s.api.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return pki.KeySet{}, nil, nil
	}
	if err != nil {
		return pki.KeySet{}, nil, fmt.Errorf("reading secret %s: %w", s.name, err)
	}
	pair := func(certificate, key string) pki.Pair {
		return pki.Pair{Certificate: found.Data[certificate], Key: found.Data[key]}
	}
	return pki.KeySet{
		CA: pair(caCertificate, caKey), NextCA: pair(nextCACertificate, nextCAKey), Serving: pair(servingCertificate, servingKey),
	}, found, nil
}

// Write replaces what Read gave, or returns ErrConflict if it was changed meanwhile.
// After any other error the outcome is unknown.
func (s *Secret) Write(ctx context.Context, keys pki.KeySet, read *corev1.Secret) error {
	next := read.DeepCopy()
	if next == nil {
		next = &corev1.Secret{Type: corev1.SecretTypeTLS}
		next.Name = s.name
		next.Labels = map[string]string{"app.kubernetes.io/name": "portlease", "app.kubernetes.io/managed-by": "portlease-allocator"}
	}
	if next.Data == nil {
		next.Data = make(map[string][]byte)
	}
	set := func(certificate, key string, pair pki.Pair) {
		if len(pair.Certificate) == 0 {
			delete(next.Data, certificate)
			delete(next.Data, key)
			return
		}
		next.Data[certificate], next.Data[key] = pair.Certificate, pair.Key
	}
	set(servingCertificate, servingKey, keys.Serving)
	set(caCertificate, caKey, keys.CA)
	set(nextCACertificate, nextCAKey, keys.NextCA)
	var err error
	if read == nil {
		_, err = s.api.Create(ctx, next, metav1.CreateOptions{})
	} else {
		_, err = s.api.Update(ctx, next, metav1.UpdateOptions{})
	}
	return writeError(err, "secret "+s.name)
}

// writeError makes a lost compare-and-swap an ErrConflict.
func writeError(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fmt.Errorf("writing %s: %w", what, ErrConflict)
	}
	return fmt.Errorf("writing %s: %w", what, err)
}
