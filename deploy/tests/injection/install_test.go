package injection_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
)

var digest = "sha256:" + strings.Repeat("0123456789abcdef", 4)

// TestInstallOnOldAndNewClusters installs the chart where policies cannot change
// pods, and then with other values where they can.
func TestInstallOnOldAndNewClusters(t *testing.T) {
	other, err := kubeapi.Start(t.Context(), kubeapi.Config{Progress: os.Stderr})
	must(t, err)
	defer func() { must(t, other.Close()) }()
	must(t, install(t.Context(), other, t.TempDir()))
	must(t, eventually(t.Context(), other, func(_ *corev1.Pod, err error) error {
		if err == nil || !strings.Contains(err.Error(), "the agent was not added. That needs Kubernetes 1.36") {
			return fmt.Errorf("a game starts without its agent, or the error does not say why: %w", err)
		}
		return nil
	}))
	must(t, install(t.Context(), other, t.TempDir(), "--set", "injection.enabled=true,injection.pool=large,aws.region=eu-central-1",
		"--set", "injection.env[0].name=PORTLEASE_DRAIN,injection.env[0].value=10m", "--set", "injection.env[1].name=PORTLEASE_HEALTH,injection.env[1].value=tcp:8080",
		"--set", "images.agent.repository=example.com/agent,images.agent.digest="+digest, "--set", "injection.resources.limits.memory=128Mi",
		"--namespace", "elsewhere"))
	must(t, added(t.Context(), other))

	client, err := kubernetes.NewForConfig(other.AdminConfig())
	must(t, err)
	for pool, pod := range map[string]*corev1.Pod{"large": game("default"), "small": game("own")} {
		if pod.Name == "own" {
			pod.Annotations["portlease.dev/pool"] = pool
		}
		made, err := client.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), pod, metav1.CreateOptions{})
		must(t, err)
		agent := made.Spec.InitContainers[0]
		if made.Annotations["portlease.dev/pool"] != pool || agent.Image != "example.com/agent@"+digest || agent.Resources.Limits.Memory().String() != "128Mi" {
			t.Errorf("it became\n%s", text(t, made))
		}
		values := make(map[string][]string)
		for _, v := range agent.Env {
			values[v.Name] = append(values[v.Name], v.Value)
		}
		for name, want := range map[string]string{
			"PORTLEASE_ALLOCATOR": "https://portlease-allocator.elsewhere.svc", "AWS_REGION": "eu-central-1", "PORTLEASE_DRAIN": "10m", "PORTLEASE_HEALTH": "tcp:8080",
		} {
			if got := values[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s is %q, want %q once", name, got, want)
			}
		}
	}
}

// TestAutoDependsOnTheAPIServer renders as helm install does, which reads the
// capabilities of the API server.
func TestAutoDependsOnTheAPIServer(t *testing.T) {
	folder := t.TempDir()
	kubeconfig := filepath.Join(folder, "kubeconfig")
	must(t, cluster.Kubeconfig(kubeconfig, cluster.AdminConfig()))
	helm, err := chart.Build(t.Context(), os.Stderr, folder, kubeconfig)
	must(t, err)
	out, err := helm.Run(t.Context(), "install", chart.Release, chart.Folder(), "--namespace", chart.Namespace, "--dry-run=server", "--take-ownership",
		"--values", filepath.Join(root, "deploy/tests/chart/testdata/plain.values.yaml"))
	if err != nil || !strings.Contains(out, "\nkind: MutatingAdmissionPolicy\n") {
		t.Errorf("got %v and\n%s", err, out)
	}
}

func TestInjectionCanBeDisabled(t *testing.T) {
	helm, err := chart.Build(t.Context(), os.Stderr, t.TempDir(), "")
	must(t, err)
	out, err := helm.Render(t.Context(), filepath.Join(root, "deploy/tests/chart/testdata/plain.values.yaml"), "--api-versions", policies, "--set", "injection.enabled=false")
	if err != nil || strings.Contains(out, "portlease-injection") {
		t.Errorf("got %v and\n%s", err, out)
	}
}

// TestPodsMeetTheRestrictedLevel creates pods by label and by hand in a namespace
// where Pod Security enforces its strictest level.
func TestPodsMeetTheRestrictedLevel(t *testing.T) {
	space := namespace(t)
	_, err := admin.CoreV1().Namespaces().Patch(t.Context(), space, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
	must(t, err)
	for _, path := range []string{"udp-echo/pod.yaml", "tcp-echo/pod.yaml", "udp-echo/deployment.yaml", "tcp-echo/statefulset.yaml"} {
		pod := template(t, path)
		pod.GenerateName = "by-hand-"
		create(t, space, pod)
		pod.GenerateName = "by-label-"
		if made := create(t, space, byLabel(pod)); len(made.Spec.InitContainers) != 1 {
			t.Errorf("%s has no agent", path)
		}
	}
	// The agent does not depend on the pod's security context.
	alone := game("alone")
	alone.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	create(t, space, alone)
	// The namespace enforces the level.
	if _, err := admin.CoreV1().Pods(space).Create(t.Context(), game("bare"), metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted:latest"`) {
		t.Errorf("a game that says nothing: %v", err)
	}
}
