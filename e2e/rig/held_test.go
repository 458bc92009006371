package rig_test

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/e2e/rig"
)

// TestHeldLeaseExistsWhilePortsAreHeld checks the Lease portlease-held, on which the
// chart's policies depend. It must also exist after a change of leader.
func TestHeldLeaseExistsWhilePortsAreHeld(t *testing.T) {
	r := start(t, rig.Config{Replicas: 2})
	ctx := t.Context()
	leases := r.Admin.CoordinationV1().Leases(r.Namespace)
	there := func() error {
		_, err := leases.Get(ctx, kubelease.HeldLease, metav1.GetOptions{})
		return err
	}
	gone := func() error {
		if err := there(); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	}
	must(t, rig.Eventually(ctx, "no Lease portlease-held while no pod holds a port", gone))
	p := newPod(t, r, "held", "game=7777/UDP")
	must(t, p.WaitBound(ctx), rig.Eventually(ctx, "Lease portlease-held", there))
	must(t, leases.Delete(ctx, kubelease.HeldLease, metav1.DeleteOptions{}), r.Replicas[0].Stop(ctx), r.Replicas[1].Stop(ctx))
	must(t, r.Replicas[0].Start(ctx), r.Replicas[1].Start(ctx), r.Replicas[0].WaitReady(ctx), r.Replicas[1].WaitReady(ctx))
	must(t, rig.Eventually(ctx, "Lease portlease-held from the new leader", there))
	must(t, p.Terminate(ctx), rig.Eventually(ctx, "no Lease portlease-held after the port was released", gone))
	check(t, r)
}
