package ownpod_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}

// story is a pod with a writer that authenticates by the pod's own token, with
// the rights that the chart grants and confined by its policy.
type story struct {
	admin     kubernetes.Interface
	namespace string
	pod       *corev1.Pod
	token     string
	writer    *ownpod.Writer
}

// manifests are those of the chart whose names begin with portlease-agent, for another
// namespace than the one in them.
func manifests(t *testing.T, namespace string) []chart.Object {
	t.Helper()
	text, err := os.ReadFile("../../deploy/tests/chart/testdata/plain.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := chart.Objects(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var found []chart.Object
	for _, o := range objects {
		if strings.HasPrefix(o.Name, "portlease-agent") {
			found = append(found, o.In("", namespace))
		}
	}
	return found
}

// nothing is granted.
func nothing(*testing.T, string) []chart.Object { return nil }

// begin makes a story whose agent may do what it needs.
func begin(t *testing.T) story {
	t.Helper()
	s := beginWith(t, manifests)
	s.eventually(t, "the rights and the policy to hold", func() error {
		if _, err := s.writer.Termination(t.Context()); err != nil {
			return err
		}
		patch := []byte(`{"metadata":{"labels":{"a":"b"}}}`)
		_, err := s.as(t).Patch(t.Context(), "game-0", types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if !denied(err) {
			return fmt.Errorf("a label is not denied: %w", err)
		}
		return nil
	})
	return s
}

func beginWith(t *testing.T, applied func(*testing.T, string) []chart.Object) story {
	t.Helper()
	admin, err := kubernetes.NewForConfig(cluster.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := cluster.Namespace(t.Context(), "ownpod")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.ServiceAccount(t.Context(), namespace, "game"); err != nil {
		t.Fatal(err)
	}
	for _, o := range applied(t, namespace) {
		if err := cluster.Apply(t.Context(), []byte(o.Text)); err != nil {
			t.Fatal(err)
		}
	}
	s := story{admin: admin, namespace: namespace, pod: newPod(t, namespace, "game-0")}
	if s.token, err = cluster.PodToken(t.Context(), namespace, "game-0", "", time.Hour); err != nil {
		t.Fatal(err)
	}
	s.writer = s.writerAs(t, cluster.TokenConfig(s.token), time.Now)
	return s
}

func (s story) writerAs(t *testing.T, cfg *rest.Config, now func() time.Time) *ownpod.Writer {
	t.Helper()
	writer, err := ownpod.New(wayOf(t, cfg), pod.Identity{Namespace: s.namespace, Name: "game-0", UID: string(s.pod.UID)}, now)
	if err != nil {
		t.Fatal(err)
	}
	return writer
}

// outliving is a writer for the pod with a token of somebody who may do everything:
// that of a pod that is gone is soon refused.
func (s story) outliving(t *testing.T) *ownpod.Writer {
	t.Helper()
	cfg, err := cluster.ServiceAccount(t.Context(), s.namespace, "operator")
	if err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: "operator"}},
	}
	if _, err := s.admin.RbacV1().RoleBindings(s.namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	writer := s.writerAs(t, cfg, time.Now)
	s.eventually(t, "the right to hold", func() error {
		if _, err := writer.Termination(t.Context()); err != nil {
			return err
		}
		return nil
	})
	return writer
}

// wayOf writes down what a pod has of a configuration by token.
func wayOf(t *testing.T, cfg *rest.Config) ownpod.API {
	t.Helper()
	way := ownpod.API{URL: cfg.Host, CAFile: filepath.Join(t.TempDir(), "ca.crt"), TokenFile: filepath.Join(t.TempDir(), "token")}
	for name, content := range map[string][]byte{way.CAFile: cfg.CAData, way.TokenFile: []byte(cfg.BearerToken)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return way
}

// as is the API server's pods as the agent's token reaches them.
func (s story) as(t *testing.T) typedcorev1.PodInterface {
	t.Helper()
	return podsAs(t, cluster.TokenConfig(s.token), s.namespace)
}

func (s story) adminPods(t *testing.T) typedcorev1.PodInterface {
	t.Helper()
	return podsAs(t, cluster.AdminConfig(), s.namespace)
}

func podsAs(t *testing.T, cfg *rest.Config, namespace string) typedcorev1.PodInterface {
	t.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client.CoreV1().Pods(namespace)
}

func (s story) eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	if err := kubeapi.Eventually(t.Context(), 30*time.Second, what, try); err != nil {
		t.Fatal(err)
	}
}

// denied tells whether the policy refused, and not RBAC.
func denied(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'portlease-agent") && strings.Contains(err.Error(), " denied request: ")
}

// newPod makes a running pod that has something of everything that the agent must
// not change.
func newPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	_, err := cluster.CreatePod(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Annotations: map[string]string{"example.com/mine": "stays"}, Labels: map[string]string{"app": "game"},
		},
		Spec: corev1.PodSpec{ServiceAccountName: "game", ReadinessGates: []corev1.PodReadinessGate{{ConditionType: ownpod.ConditionReachable}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.RunPod(t.Context(), namespace, name, "10.1.2.3"); err != nil {
		t.Fatal(err)
	}
	return getPod(t, namespace, name)
}

func getPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod, err := podsAs(t, cluster.AdminConfig(), namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func (s story) annotations(t *testing.T) map[string]string {
	t.Helper()
	return getPod(t, s.namespace, "game-0").Annotations
}

var claim = api.Claim{
	UID: "u", LoadBalancer: api.LoadBalancer{Host: "games.elb.example"},
	Ports: []api.ClaimedPort{{Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: 30007}},
}
