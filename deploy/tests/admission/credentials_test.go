package admission_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	credentials = "portlease-credentials"
	skip        = "eks.amazonaws.com/skip-containers"
)

// newGuarded is a place with the policy about credentials in effect.
func newGuarded(t *testing.T, values string, more ...string) (p place, try func(*testing.T, *corev1.Pod) error) {
	t.Helper()
	p = newPlace(t, values, append(more, "policy-credentials.yaml")...)
	account(t, p.games, "game")
	account(t, p.games, "other")
	account(t, p.arena, "arena")
	account(t, p.arena, "game")
	account(t, p.databases, "game")
	client, err := kubernetes.NewForConfig(cluster.AdminConfig())
	must(t, err)
	try = func(t *testing.T, pod *corev1.Pod) error {
		t.Helper()
		_, err := client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	eventually(t, "the policy refuses pods", func() error {
		if err := try(t, gamePod(p)); !deniedBy(err, credentials, "") {
			return errors.Join(errors.New("a pod without the annotation is created"), err)
		}
		return nil
	})
	return p, try
}

// gamePod is a pod with the agent, a game, a sidecar and an init container.
func gamePod(p place) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.games, Name: "shooter", Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "game",
			InitContainers: []corev1.Container{
				{Name: "portlease", Image: "x", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}, {Name: "maps", Image: "x"},
			},
			Containers: []corev1.Container{{Name: "game", Image: "x"}, {Name: "logs", Image: "x"}},
		},
	}
}

// token adds a volume with a token for that audience, and gives its mount.
func token(pod *corev1.Pod, audience string) corev1.VolumeMount {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token"}}},
	}}})
	return corev1.VolumeMount{Name: "token", MountPath: "/token"}
}

// TestOnlyTheAgentGetsAWSCredentials creates pods in which the webhook of EKS would give
// another container credentials. Each refusal says what to write.
func TestOnlyTheAgentGetsAWSCredentials(t *testing.T) {
	p, try := newGuarded(t, "")
	const annotate = "Set its annotation eks.amazonaws.com/skip-containers to game,logs,maps, without spaces"
	for name, test := range map[string]struct {
		shape func(*corev1.Pod)
		want  string
	}{
		"no annotation":         {func(*corev1.Pod) {}, annotate},
		"an empty annotation":   {func(p *corev1.Pod) { p.Annotations[skip] = "" }, annotate},
		"not the init one":      {func(p *corev1.Pod) { p.Annotations[skip] = "game,logs" }, annotate},
		"not the game":          {func(p *corev1.Pod) { p.Annotations[skip] = "logs,maps" }, annotate},
		"another name":          {func(p *corev1.Pod) { p.Annotations[skip] = "games,logs,maps" }, annotate},
		"a space":               {func(p *corev1.Pod) { p.Annotations[skip] = "game, logs,maps" }, annotate},
		"two lines":             {func(p *corev1.Pod) { p.Annotations[skip] = "logs,maps\ngame,logs,maps" }, annotate},
		"a quote, an error":     {func(p *corev1.Pod) { p.Annotations[skip] = `game,logs,maps,"` }, annotate},
		"no agent":              {func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[1:] }, annotate},
		"another agent account": {func(pod *corev1.Pod) { pod.Namespace, pod.Spec.ServiceAccountName = p.arena, "arena" }, annotate},
		"the game mounts a token for Pod Identity": {func(p *corev1.Pod) {
			p.Annotations[skip] = "game,logs,maps"
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{token(p, "pods.eks.amazonaws.com")}
		}, "a container besides the agent mounts a volume with a token"},
		"an init container mounts a token for STS": {func(p *corev1.Pod) {
			p.Annotations[skip] = "game,logs,maps"
			p.Spec.InitContainers[1].VolumeMounts = []corev1.VolumeMount{token(p, "sts.amazonaws.com")}
		}, "a container besides the agent mounts a volume with a token"},
		"the game mounts the agent's tokens": {func(p *corev1.Pod) {
			p.Annotations[skip] = "game,logs,maps"
			p.Spec.Containers[1].VolumeMounts = []corev1.VolumeMount{token(p, "portlease")}
		}, "a container besides the agent mounts a volume with a token"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := gamePod(p)
			test.shape(pod)
			if err := try(t, pod); !deniedBy(err, credentials, test.want) {
				t.Errorf("got %v, want the refusal %q", err, test.want)
			}
		})
	}
}

// TestPodsWithoutCredentialsAreCreated creates pods in which nobody but the agent would
// get credentials, and pods that have none.
func TestPodsWithoutCredentialsAreCreated(t *testing.T) {
	p, try := newGuarded(t, "")
	for name, shape := range map[string]func(*corev1.Pod){
		"every name":                  func(p *corev1.Pod) { p.Annotations[skip] = "game,logs,maps" },
		"in another order, with more": func(p *corev1.Pod) { p.Annotations[skip] = "istio-proxy,maps,logs,game" },
		"the agent mounts tokens": func(p *corev1.Pod) {
			p.Annotations[skip] = "game,logs,maps"
			p.Spec.InitContainers[0].VolumeMounts = []corev1.VolumeMount{token(p, "pods.eks.amazonaws.com")}
		},
		"the game mounts a token for somebody else": func(p *corev1.Pod) {
			p.Annotations[skip] = "game,logs,maps"
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{token(p, "vault")}
		},
		"another account":                  func(p *corev1.Pod) { p.Spec.ServiceAccountName = "other" },
		"another namespace":                func(pod *corev1.Pod) { pod.Namespace = p.databases },
		"an account of another entry":      func(pod *corev1.Pod) { pod.Namespace = p.arena },
		"no agent, and nobody credentials": func(p *corev1.Pod) { p.Spec.InitContainers = nil; p.Annotations[skip] = "game,logs" },
	} {
		t.Run(name, func(t *testing.T) {
			pod := gamePod(p)
			shape(pod)
			if err := try(t, pod); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneRefusalOfALabeledPod creates a labeled pod that gets no agent. The policy about
// injection says why; if nothing injects, the pod is one like any other.
func TestOneRefusalOfALabeledPod(t *testing.T) {
	labeled := func(p place) *corev1.Pod {
		pod := gamePod(p)
		pod.Spec.InitContainers = nil
		pod.Labels = map[string]string{"portlease.dev/inject": "true"}
		return pod
	}
	t.Run("without injection", func(t *testing.T) {
		p, try := newGuarded(t, "injection: {enabled: false}")
		if err := try(t, labeled(p)); !deniedBy(err, credentials, "") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("with injection", func(t *testing.T) {
		p, try := newGuarded(t, "injection: {enabled: true}", "injection.yaml")
		t.Cleanup(func() {
			client, err := kubernetes.NewForConfig(cluster.AdminConfig())
			must(t, err)
			ctx, registered := context.WithoutCancel(t.Context()), client.AdmissionregistrationV1()
			must(t, registered.MutatingAdmissionPolicyBindings().Delete(ctx, "portlease-injection", metav1.DeleteOptions{}),
				registered.ValidatingAdmissionPolicyBindings().Delete(ctx, "portlease-injection", metav1.DeleteOptions{}))
		})
		eventually(t, "the policy about injection refuses the pod", func() error {
			if err := try(t, labeled(p)); err == nil || !strings.Contains(err.Error(), "'portlease-injection'") || !strings.Contains(err.Error(), "portlease.dev/ports is missing") {
				return errors.Join(errors.New("another refusal, or none"), err)
			}
			return nil
		})
		for range 20 {
			if err := try(t, labeled(p)); err == nil || strings.Contains(err.Error(), credentials) {
				t.Fatalf("got %v, want the refusal by portlease-injection alone", err)
			}
		}
	})
}
