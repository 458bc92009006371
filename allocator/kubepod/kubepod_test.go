package kubepod_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/kubeapi"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}

// must fails the test on the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rights are those that the chart grants: on pods in one namespace, on namespaces in all.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: it, namespace: %[1]s}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}, {apiGroups: [""], resources: [events], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: it, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: it}
subjects: [{kind: ServiceAccount, name: allocator, namespace: %[1]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: namespaces}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: namespaces}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: namespaces}
subjects: [{kind: ServiceAccount, name: allocator, namespace: %[1]s}]
`

// A refused read is no proof that a pod is gone, unless its whole namespace is.
func TestPodsAreReadInTheNamespacesOfGames(t *testing.T) {
	ctx := t.Context()
	games, err := cluster.Namespace(ctx, "games")
	must(t, err)
	elsewhere, err := cluster.Namespace(ctx, "elsewhere")
	must(t, err)
	config, err := cluster.ServiceAccount(ctx, games, "allocator")
	must(t, err, cluster.Apply(ctx, fmt.Appendf(nil, rights, games)))
	for _, namespace := range []string{games, elsewhere} {
		_, err := cluster.CreatePod(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game"}})
		must(t, err, cluster.RunPod(ctx, namespace, "game", "10.0.0.7"))
	}
	kube, err := kubernetes.NewForConfig(config)
	must(t, err)
	pods := kubepod.New(kube, "allocator-1")
	must(t, kubeapi.Eventually(ctx, 30*time.Second, "the rights to count", func() error {
		_, err := pods.Get(ctx, games, "game")
		return err
	}), kubeapi.Eventually(ctx, 30*time.Second, "the right on namespaces to count", func() error {
		_, err := pods.Get(ctx, "deleted", "game")
		return err
	}))

	p, err := pods.Get(ctx, games, "game")
	must(t, err)
	if p == nil || p.UID == "" || !slices.Equal(p.IPs, []string{"10.0.0.7"}) || p.Terminal {
		t.Errorf("the pod is %+v", p)
	}
	for what, place := range map[string]string{"a pod that is gone": games, "a pod of a deleted namespace": "deleted"} {
		if p, err := pods.Get(ctx, place, "gone"); p != nil || err != nil {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	for _, name := range []string{"game", "gone"} {
		if p, err := pods.Get(ctx, elsewhere, name); p != nil || !errors.Is(err, ledger.ErrPodForbidden) {
			t.Errorf("pod %s of a namespace without games: %+v, %v", name, p, err)
		}
	}
	must(t, pods.Warn(ctx, games, "game", p.UID, "Reason", "message"))
	admin, err := kubernetes.NewForConfig(cluster.AdminConfig())
	must(t, err)
	events, err := admin.CoreV1().Events(games).List(ctx, metav1.ListOptions{})
	must(t, err)
	if len(events.Items) != 1 || events.Items[0].ReportingController != "portlease-allocator" || events.Items[0].ReportingInstance != "allocator-1" || string(events.Items[0].InvolvedObject.UID) != p.UID {
		t.Errorf("the events are %+v", events.Items)
	}
	if err := pods.Warn(ctx, elsewhere, "game", "uid", "Reason", "message"); err == nil {
		t.Error("it created an event in a namespace without games")
	}
}
