package kubecerts

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ConfigMaps are the ConfigMaps with the CA certificates to trust, one in a namespace.
type ConfigMaps struct{ Client kubernetes.Interface }

// Bundle is the ConfigMap of one namespace as it was read.
type Bundle struct {
	client    kubernetes.Interface
	namespace string
	found     *corev1.ConfigMap // nil: there is none
}

// Read is a consistent read. A missing ConfigMap is no error.
func (c ConfigMaps) Read(ctx context.Context, namespace string) (*Bundle, error) {
	b := &Bundle{client: c.Client, namespace: namespace}
	found, err := c.Client.CoreV1().ConfigMaps(namespace).Get(ctx, ConfigMap, metav1.GetOptions{})
	switch {
	case err == nil:
		b.found = found
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading configmap %s/%s: %w", namespace, ConfigMap, err)
	}
	return b, nil
}

// Write stores the certificates, unless they are there already, and reports whether it
// wrote. It returns ErrConflict if the ConfigMap was changed meanwhile. Other keys of
// the ConfigMap are kept.
func (b *Bundle) Write(ctx context.Context, certificates []byte) (changed bool, err error) {
	if b.found != nil && b.found.Data[Certificates] == string(certificates) {
		return false, nil
	}
	what := "configmap " + b.namespace + "/" + ConfigMap
	api := b.client.CoreV1().ConfigMaps(b.namespace)
	if b.found == nil {
		made := &corev1.ConfigMap{Data: map[string]string{Certificates: string(certificates)}}
		made.Name = ConfigMap
		made.Labels = map[string]string{"app.kubernetes.io/name": "portlease", "app.kubernetes.io/managed-by": "portlease-allocator"}
		_, err = api.Create(ctx, made, metav1.CreateOptions{})
		return err == nil, writeError(err, what)
	}
	next := b.found.DeepCopy()
	if next.Data == nil {
		next.Data = make(map[string]string)
	}
	next.Data[Certificates] = string(certificates)
	_, err = api.Update(ctx, next, metav1.UpdateOptions{})
	return err == nil, writeError(err, what)
}
