package hostile

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// These cases concern the chart's admission policy: the games' account must not write
// on other pods, and the policy must not touch anybody else's account.

// forgePhase makes another pod look ended, with a token of the games' account that is
// bound to no pod.
func forgePhase(ctx context.Context, w *world) (judge, error) {
	victim, err := w.newAttacker(ctx) // any other pod
	if err != nil {
		return nil, err
	}
	made, err := w.Admin.CoreV1().ServiceAccounts(w.Games).CreateToken(ctx, "game", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting a token that is bound to no pod: %w", err)
	}
	client, err := kubernetes.NewForConfig(w.Kube.TokenConfig(made.Status.Token))
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	_, err = client.CoreV1().Pods(w.Games).Patch(ctx, victim.Name, types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`), metav1.PatchOptions{}, "status")
	return func(ctx context.Context) (outcome, error) {
		pod, reading := w.Admin.CoreV1().Pods(w.Games).Get(ctx, victim.Name, metav1.GetOptions{})
		switch {
		case reading != nil:
			return outcome{}, fmt.Errorf("reading the victim: %w", reading)
		case pod.Status.Phase == corev1.PodFailed:
			return got(true, "another pod counts as Failed, so its ports are reclaimed")
		case !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err):
			return outcome{}, fmt.Errorf("the patch was answered %w", err)
		}
		return got(false, "%v", err)
	}, nil
}

// operatorPatches has an operator in a namespace without games label its own pod. It
// may patch pods but not update them, as agents may.
func operatorPatches(ctx context.Context, w *world) (judge, error) {
	namespace, err := w.Kube.Namespace(ctx, "database")
	if err != nil {
		return nil, err
	}
	if err := w.Kube.Apply(ctx, fmt.Appendf(nil, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator, namespace: %[1]s}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects:
- {kind: ServiceAccount, name: operator, namespace: %[1]s}
`, namespace)); err != nil {
		return nil, err
	}
	if _, err := w.Kube.CreatePod(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "operator-0"}, Spec: corev1.PodSpec{ServiceAccountName: "operator"},
	}); err != nil {
		return nil, err
	}
	token, err := w.Kube.PodToken(ctx, namespace, "operator-0", "", time.Hour)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(w.Kube.TokenConfig(token))
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	_, err = client.CoreV1().Pods(namespace).Patch(ctx, "operator-0", types.MergePatchType, []byte(`{"metadata":{"labels":{"role":"primary"}}}`), metav1.PatchOptions{})
	return func(context.Context) (outcome, error) {
		switch {
		case err == nil:
			return got(false, "the operator labels its pod")
		case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
			return got(true, "%v", err)
		}
		return outcome{}, fmt.Errorf("the patch was answered %w", err)
	}, nil
}
