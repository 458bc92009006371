package kubelease

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// HeldLease exists while any port of the ledger is held. It is not part of the ledger,
// and the allocator never reads it. Admission policies see one object at a time; this
// Lease tells them that the ledger must not be deleted.
const HeldLease = "portlease-held"

// stateHeld is the state label of HeldLease.
const stateHeld = "held"

// MarkHeld creates or deletes HeldLease.
func MarkHeld(ctx context.Context, kube kubernetes.Interface, namespace string, held bool) error {
	leases := kube.CoordinationV1().Leases(namespace)
	if !held {
		if err := leases.Delete(ctx, HeldLease, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting lease %s: %w", HeldLease, err)
		}
		return nil
	}
	holder := "game-server pods"
	mark := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}}
	mark.Name, mark.Labels = HeldLease, map[string]string{labelState: stateHeld}
	if _, err := leases.Create(ctx, mark, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating lease %s: %w", HeldLease, err)
	}
	return nil
}
