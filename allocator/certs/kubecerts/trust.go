package kubecerts

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// TrustSecret is the name of the Secret that remembers the CA certificates that callers
// may still need, under key Certificates. It has no secrets. It is a Secret because
// whoever may write it decides whom callers trust, and fewer may write Secrets than
// ConfigMaps.
const TrustSecret = "portlease-trust"

// Trust is the Secret with the CA certificates.
type Trust struct{ api typedcorev1.SecretInterface }

// NewTrust makes a Trust, whose Secret need not exist in the API server.
func NewTrust(kube kubernetes.Interface, namespace string) Trust {
	return Trust{kube.CoreV1().Secrets(namespace)}
}

// Read is a consistent read. Its object is for Write; nil means that there is none.
func (t Trust) Read(ctx context.Context) (certificates []byte, read *corev1.Secret, err error) {
	found, err := t.api.Get(ctx, TrustSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading secret %s: %w", TrustSecret, err)
	}
	return found.Data[Certificates], found, nil
}

// Write stores the certificates, unless Read gave the same. It returns ErrConflict if the
// Secret was changed since.
func (t Trust) Write(ctx context.Context, certificates []byte, read *corev1.Secret) error {
	if read != nil && bytes.Equal(read.Data[Certificates], certificates) {
		return nil
	}
	content := map[string][]byte{Certificates: certificates}
	if read == nil {
		made := &corev1.Secret{Type: corev1.SecretTypeOpaque, Data: content}
		made.Name = TrustSecret
		made.Labels = map[string]string{"app.kubernetes.io/name": "portlease", "app.kubernetes.io/managed-by": "portlease-allocator"}
		_, err := t.api.Create(ctx, made, metav1.CreateOptions{})
		return writeError(err, "secret "+TrustSecret)
	}
	next := read.DeepCopy()
	next.Data = content
	_, err := t.api.Update(ctx, next, metav1.UpdateOptions{})
	return writeError(err, "secret "+TrustSecret)
}
