package admission_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// place is a cluster in which the chart is installed for two namespaces of games. A
// third namespace has nothing to do with portlease.
type place struct {
	games, arena, databases string
}

// newPlace installs those templates of the chart for new namespaces. values is YAML that
// is added to the values.
func newPlace(t *testing.T, values string, templates ...string) place {
	t.Helper()
	var p place
	for name, prefix := range map[*string]string{&p.games: "games", &p.arena: "arena", &p.databases: "databases"} {
		var err error
		*name, err = cluster.Namespace(t.Context(), prefix)
		must(t, err)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
pools: {pools: [{name: default, loadBalancerTags: {team: games}, listenerPorts: ["30000-30049"]}]}
games:
- {namespace: %s, serviceAccounts: [game, lobby]}
- {namespace: %s, serviceAccounts: [arena]}
%s`, p.games, p.arena, values), 0o600))
	helm, err := chart.Build(t.Context(), os.Stderr, t.TempDir(), "")
	must(t, err)
	var flags []string
	for _, template := range templates {
		flags = append(flags, "--show-only", "templates/"+template)
	}
	manifests, err := helm.Render(t.Context(), file, flags...)
	must(t, err)
	must(t, cluster.Apply(t.Context(), []byte(manifests)))
	return p
}

// account creates a service account. verbs are what it may do with the pods of its
// namespace, besides what the chart grants.
func account(t *testing.T, namespace, name string, verbs ...string) {
	t.Helper()
	_, err := cluster.ServiceAccount(t.Context(), namespace, name)
	must(t, err)
	if len(verbs) == 0 {
		return
	}
	must(t, cluster.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: %[1]s, namespace: %[2]s}
rules:
- {apiGroups: [""], resources: [pods, pods/status], verbs: [%[3]s]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %[1]s, namespace: %[2]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}
subjects:
- {kind: ServiceAccount, name: %[1]s, namespace: %[2]s}
`, name, namespace, strings.Join(verbs, ", "))))
}

// pod creates a running pod of that account, and gives the configuration of its token.
func pod(t *testing.T, namespace, account, name string) *rest.Config {
	t.Helper()
	_, err := cluster.CreatePod(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{ServiceAccountName: account},
	})
	must(t, err)
	must(t, cluster.RunPod(t.Context(), namespace, name, "10.1.2.3"))
	token, err := cluster.PodToken(t.Context(), namespace, name, "", time.Hour)
	must(t, err)
	return cluster.TokenConfig(token)
}

// patch tries to patch a pod, or one of its subresources. It changes nothing: a change
// that was made before the policy took effect could not be tried again.
func patch(t *testing.T, as *rest.Config, namespace, name, change string, below ...string) error {
	t.Helper()
	client, err := kubernetes.NewForConfig(as)
	must(t, err)
	_, err = client.CoreV1().Pods(namespace).Patch(t.Context(), name, types.StrategicMergePatchType, []byte(change), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, below...)
	return err
}

// eventually polls for what takes effect a moment after it was applied.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	must(t, kubeapi.Eventually(t.Context(), 30*time.Second, what, condition))
}

// deniedBy reports whether that policy refused the request with that message. A missing
// right is a refusal, too, and does not count.
func deniedBy(err error, policy, message string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy+"'") && strings.Contains(err.Error(), message)
}
