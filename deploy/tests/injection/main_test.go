package injection_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
)

const (
	root = "../../.."
	// policies is the API that injection.enabled=auto looks for in the cluster.
	policies = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
	labeled  = "portlease.dev/inject"
	ports    = "portlease.dev/ports"
	// skip names the containers that the webhook of EKS gives no AWS credentials.
	skip = "eks.amazonaws.com/skip-containers"
)

var (
	cluster *kubeapi.API
	admin   kubernetes.Interface
)

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		if err := prepare(k); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}))
}

// prepare installs the policies that all but a few tests share.
func prepare(k *kubeapi.API) (err error) {
	ctx := context.Background()
	cluster = k
	if admin, err = kubernetes.NewForConfig(k.AdminConfig()); err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "injection")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	if err := install(ctx, k, home, "--api-versions", policies); err != nil {
		return err
	}
	return added(ctx, k)
}

// install applies the chart's policies, rendered with these flags.
func install(ctx context.Context, k *kubeapi.API, home string, flags ...string) error {
	helm, err := chart.Build(ctx, os.Stderr, home, "")
	if err != nil {
		return err
	}
	values := filepath.Join(root, "deploy/tests/chart/testdata/plain.values.yaml")
	manifests, err := helm.Render(ctx, values, append(flags, "--show-only", "templates/injection.yaml")...)
	if err != nil {
		return err
	}
	return k.Apply(ctx, []byte(manifests))
}

// added waits until the API server applies the policies, which it learns of one by one.
func added(ctx context.Context, k *kubeapi.API) error {
	if err := eventually(ctx, k, func(made *corev1.Pod, err error) error {
		if err == nil && len(made.Spec.InitContainers) == 0 {
			return errors.New("a labeled pod gets no agent")
		}
		return err
	}); err != nil {
		return err
	}
	wrong := game("probe")
	wrong.Annotations = nil
	return eventuallyOf(ctx, k, wrong, func(_ *corev1.Pod, err error) error {
		if !apierrors.IsInvalid(err) {
			return fmt.Errorf("a labeled pod without ports is not refused: %w", err)
		}
		return nil
	})
}

// eventually creates a labeled pod repeatedly until right accepts the result.
func eventually(ctx context.Context, k *kubeapi.API, right func(*corev1.Pod, error) error) error {
	return eventuallyOf(ctx, k, game("probe"), right)
}

// eventuallyOf is eventually for any pod.
func eventuallyOf(ctx context.Context, k *kubeapi.API, pod *corev1.Pod, right func(*corev1.Pod, error) error) error {
	client, err := kubernetes.NewForConfig(k.AdminConfig())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		wrong := right(client.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}))
		if wrong == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the policies do not hold: %w", wrong)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// game gives a labeled pod with one container.
func game(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labeled: "true"}, Annotations: map[string]string{ports: "game=7777/UDP"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "game", Image: "example.com/game"}}},
	}
}

// credentialed gives the containers of a pod that the webhook of EKS would give AWS
// credentials. It reads the annotation as getContainersToSkip of
// amazon-eks-pod-identity-webhook does (pkg/handler/handler.go at 3bf80a3): one record of
// CSV, for containers and init containers alike.
func credentialed(t *testing.T, pod *corev1.Pod) (names []string) {
	t.Helper()
	var skipped []string
	if value, ok := pod.Annotations[skip]; ok {
		var err error
		skipped, err = csv.NewReader(strings.NewReader(value)).Read()
		must(t, err)
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if !slices.Contains(skipped, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// namespace creates a namespace with the service accounts that the tests' pods name.
func namespace(t *testing.T) string {
	t.Helper()
	name, err := cluster.Namespace(t.Context(), "injection")
	must(t, err)
	for _, account := range []string{"game", "agones-sdk"} {
		_, err := cluster.ServiceAccount(t.Context(), name, account)
		must(t, err)
	}
	return name
}

// create creates a pod and gives it as the API server stores it.
func create(t *testing.T, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := admin.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	must(t, err)
	return made
}

// refused requires that the API server refuses a pod, and gives the message.
func refused(t *testing.T, namespace string, pod *corev1.Pod) string {
	t.Helper()
	_, err := admin.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil {
		return ""
	}
	if !apierrors.IsInvalid(err) || strings.Contains(err.Error(), "\n") {
		t.Errorf("it is no refusal by a policy, in one line: %v", err)
	}
	return err.Error()
}

// template gives the pod of an example in examples/.
func template(t *testing.T, path string) *corev1.Pod {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "examples", path))
	must(t, err)
	var written struct {
		corev1.Pod `json:",inline"`
		Spec       struct {
			corev1.PodSpec `json:",inline"`
			Template       *corev1.Pod `json:"template"`
		} `json:"spec"`
	}
	must(t, yaml.Unmarshal(text, &written))
	if written.Spec.Template != nil {
		return &corev1.Pod{ObjectMeta: written.Spec.Template.ObjectMeta, Spec: written.Spec.Template.Spec}
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: written.Labels, Annotations: written.Annotations}, Spec: written.Spec.PodSpec}
}
