package kubetrust

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Bundle is the ConfigMap of one namespace.
type Bundle struct {
	kube      kubernetes.Interface
	namespace string
	found     *corev1.ConfigMap // nil: there is none
}

// ReadBundle is a consistent read; it is no error if there is no ConfigMap.
func ReadBundle(ctx context.Context, kube kubernetes.Interface, namespace string) (*Bundle, error) {
	b := &Bundle{kube: kube, namespace: namespace}
	found, err := kube.CoreV1().ConfigMaps(namespace).Get(ctx, ConfigMap, metav1.GetOptions{})
	switch {
	case err == nil:
		b.found = found
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading configmap %s/%s: %w", namespace, ConfigMap, err)
	}
	return b, nil
}

// Certificates are those in it, PEM.
func (b *Bundle) Certificates() []byte {
	if b.found == nil {
		return nil
	}
	return []byte(b.found.Data[Certificates])
}

// Write makes it hold those certificates and tells whether it did not before.
// ErrConflict means that somebody wrote meanwhile. What else is in the ConfigMap
// stays.
func (b *Bundle) Write(ctx context.Context, certificates []byte) (changed bool, err error) {
	if b.found != nil && b.found.Data[Certificates] == string(certificates) {
		return false, nil
	}
	what := "configmap " + b.namespace + "/" + ConfigMap
	api := b.kube.CoreV1().ConfigMaps(b.namespace)
	if b.found == nil {
		made := &corev1.ConfigMap{Data: map[string]string{Certificates: string(certificates)}}
		made.Name = ConfigMap
		made.Labels = map[string]string{"app.kubernetes.io/name": "portlease", "app.kubernetes.io/managed-by": "portlease-allocator"}
		_, err = api.Create(ctx, made, metav1.CreateOptions{})
		return err == nil, written(err, what)
	}
	next := b.found.DeepCopy()
	if next.Data == nil {
		next.Data = make(map[string]string)
	}
	next.Data[Certificates] = string(certificates)
	_, err = api.Update(ctx, next, metav1.UpdateOptions{})
	return err == nil, written(err, what)
}
