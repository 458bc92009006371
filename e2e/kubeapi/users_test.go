package kubeapi

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

func TestServiceAccountHasOnlyTheRightsThatRBACGrants(t *testing.T) {
	namespace := newNamespace(t)
	config, err := shared.ServiceAccount(t.Context(), namespace, "agent")
	if err != nil {
		t.Fatal(err)
	}
	leases := newClient(t, config).CoordinationV1().Leases(namespace)
	if _, err := leases.List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("listing without a right: %v, want Forbidden", err)
	}
	err = shared.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lister, namespace: %[1]s}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lister, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: lister}
subjects:
- {kind: ServiceAccount, name: agent}
`, namespace))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := leases.List(t.Context(), metav1.ListOptions{})
		return err
	})
	if _, err := leases.Get(t.Context(), "any", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("getting with the right to list: %v, want Forbidden", err)
	}
}

func TestPodTokenNamesItsPod(t *testing.T) {
	namespace := newNamespace(t)
	if _, err := shared.ServiceAccount(t.Context(), namespace, "agent"); err != nil {
		t.Fatal(err)
	}
	pod, err := shared.CreatePod(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game-0"},
		Spec:       corev1.PodSpec{ServiceAccountName: "agent"},
	})
	if err != nil {
		t.Fatal(err)
	}
	token := podToken(t, namespace, "game-0", "portlease")
	status := review(t, token, "portlease")
	if !status.Authenticated {
		t.Fatalf("the token is refused: %s", status.Error)
	}
	if want := "system:serviceaccount:" + namespace + ":agent"; status.User.Username != want {
		t.Errorf("user %q, want %q", status.User.Username, want)
	}
	for key, want := range map[string]string{
		"authentication.kubernetes.io/pod-name":  "game-0",
		"authentication.kubernetes.io/pod-uid":   string(pod.UID),
		"authentication.kubernetes.io/node-name": Node,
	} {
		if got := status.User.Extra[key]; len(got) != 1 || got[0] != want {
			t.Errorf("extra %s is %q, want %q", key, got, want)
		}
	}
	if review(t, token, "somebody-else").Authenticated {
		t.Error("a token for another audience is accepted")
	}

	// This token was never reviewed: the API server caches its reviews for some seconds.
	token = podToken(t, namespace, "game-0", "portlease")
	if err := shared.RemovePod(t.Context(), namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if review(t, token, "portlease").Authenticated {
			return fmt.Errorf("the token of a removed pod is accepted")
		}
		return nil
	})
}

func TestPodTokenWithoutAudienceIsForTheAPIServer(t *testing.T) {
	namespace := newNamespace(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game-0"}}
	if _, err := shared.CreatePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	config := shared.TokenConfig(podToken(t, namespace, "game-0", ""))
	self, err := newClient(t, config).AuthenticationV1().SelfSubjectReviews().Create(t.Context(),
		&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "system:serviceaccount:" + namespace + ":default"; self.Status.UserInfo.Username != want {
		t.Errorf("user %q, want %q", self.Status.UserInfo.Username, want)
	}
}

func TestPodTokenReturnsNotFoundForAMissingPod(t *testing.T) {
	if _, err := shared.PodToken(t.Context(), newNamespace(t), "nobody", "portlease", time.Hour); !apierrors.IsNotFound(err) {
		t.Errorf("PodToken: %v, want NotFound", err)
	}
}

func TestKubeconfig(t *testing.T) {
	namespace := newNamespace(t)
	agent, err := shared.ServiceAccount(t.Context(), namespace, "agent")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := shared.Kubeconfig(path, agent); err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want it readable by its owner only", stat.Mode())
	}
	if err := listLeasesWith(t, path, namespace); !apierrors.IsForbidden(err) {
		t.Errorf("as a service account without rights: %v, want Forbidden", err)
	}
	if err := shared.Kubeconfig(path, shared.AdminConfig()); err != nil {
		t.Fatal(err)
	}
	if err := listLeasesWith(t, path, namespace); err != nil {
		t.Errorf("as admin: %v", err)
	}
}

func listLeasesWith(t *testing.T, kubeconfig, namespace string) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newClient(t, config).CoordinationV1().Leases(namespace).List(t.Context(), metav1.ListOptions{})
	return err
}

func podToken(t *testing.T, namespace, pod, audience string) string {
	t.Helper()
	token, err := shared.PodToken(t.Context(), namespace, pod, audience, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func review(t *testing.T, token, audience string) authenticationv1.TokenReviewStatus {
	t.Helper()
	answer, err := shared.client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}
