package kubelease_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/kubelease"
)

func TestMarkHeldCreatesAndDeletesTheLease(t *testing.T) {
	namespace := newNamespace(t)
	kube := newClient(t, cluster.AdminConfig())
	leases := kube.CoordinationV1().Leases(namespace)
	for range 2 {
		must(t, kubelease.MarkHeld(t.Context(), kube, namespace, true))
		l, err := leases.Get(t.Context(), kubelease.HeldLease, metav1.GetOptions{})
		if err != nil || l.Labels["portlease.dev/state"] != "held" {
			t.Errorf("while ports are held: %v, %v", l, err)
		}
	}
	for range 2 {
		must(t, kubelease.MarkHeld(t.Context(), kube, namespace, false))
		if _, err := leases.Get(t.Context(), kubelease.HeldLease, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("while none is held: %v", err)
		}
	}
}
