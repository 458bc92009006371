package injection_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"
)

const agentName = "portlease"

// byLabel removes everything from a pod that a person writes for the agent, and
// labels the pod.
func byLabel(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	if pod.Labels == nil {
		pod.Labels = make(map[string]string)
	}
	pod.Labels[labeled] = "true"
	delete(pod.Annotations, skip)
	pod.Spec.InitContainers, pod.Spec.Volumes, pod.Spec.Containers[0].VolumeMounts = nil, nil, nil
	return pod
}

// same compares two values and names each field that differs.
func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if name := g.Type().Field(i).Name; !equality.Semantic.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s has another %s:\n%swant\n%s", what, name, text(t, g.Field(i).Interface()), text(t, w.Field(i).Interface()))
		}
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := yaml.Marshal(value)
	must(t, err)
	return string(out)
}

// TestPodsByLabelAndByHandAreTheSame creates the pods of the examples by hand and by
// label. It does so with and without the volume that Kubernetes mounts by itself.
func TestPodsByLabelAndByHandAreTheSame(t *testing.T) {
	for _, path := range []string{"udp-echo/pod.yaml", "tcp-echo/pod.yaml", "udp-echo/deployment.yaml", "tcp-echo/statefulset.yaml"} {
		for _, automount := range []bool{false, true} {
			t.Run(path+map[bool]string{true: " with a token of Kubernetes' own"}[automount], func(t *testing.T) {
				space, pod := namespace(t), template(t, path)
				pod.Name, pod.Spec.AutomountServiceAccountToken = "by-hand", &automount
				hand := create(t, space, pod)
				pod.Name = "by-label"
				label := create(t, space, byLabel(pod))

				compare(t, hand, label)
			})
		}
	}
}

func compare(t *testing.T, hand, label *corev1.Pod) {
	t.Helper()
	if len(label.Spec.InitContainers) != 1 {
		t.Fatalf("the init containers are\n%s", text(t, label.Spec.InitContainers))
	}
	same(t, "the agent", withoutKubernetesOwn(label.Spec.InitContainers[0]), withoutKubernetesOwn(hand.Spec.InitContainers[0]))
	if got, want := len(label.Spec.InitContainers[0].VolumeMounts), len(hand.Spec.InitContainers[0].VolumeMounts); got != want {
		t.Errorf("the agent has %d mounts, want %d", got, want)
	}
	// The variables of the game that were written by hand come last.
	game, want := label.Spec.Containers[0], hand.Spec.Containers[0]
	if n := len(game.Env) - len(want.Env); n < 3 || !strings.HasPrefix(game.Env[0].Name, "PORTLEASE_") {
		t.Errorf("the game's variables are\n%s", text(t, game.Env))
	} else {
		game.Env = game.Env[n:]
	}
	same(t, "the game", withoutKubernetesOwn(game), withoutKubernetesOwn(want))
	for _, v := range hand.Spec.Volumes {
		if i := volume(label, v.Name); i < 0 && strings.HasPrefix(v.Name, agentName) {
			t.Errorf("there is no volume %s", v.Name)
		} else if i >= 0 {
			same(t, "volume "+v.Name, label.Spec.Volumes[i], v)
		}
	}
	if len(label.Spec.Volumes) != len(hand.Spec.Volumes) {
		t.Errorf("the volumes are\n%swant\n%s", text(t, label.Spec.Volumes), text(t, hand.Spec.Volumes))
	}
	for _, pod := range []*corev1.Pod{hand, label} {
		if got := credentialed(t, pod); !slices.Equal(got, []string{agentName}) {
			t.Errorf("in %s %q get AWS credentials, want the agent alone", pod.Name, got)
		}
	}
	a, b := label.Spec, hand.Spec
	a.InitContainers, a.Containers, a.Volumes = nil, nil, nil
	b.InitContainers, b.Containers, b.Volumes = nil, nil, nil
	same(t, "the pod", a, b)
}

// withoutKubernetesOwn removes the mount that the API server adds. Its name differs
// in each pod, and its position does not matter.
func withoutKubernetesOwn(c corev1.Container) corev1.Container {
	var mounts []corev1.VolumeMount
	for _, m := range c.VolumeMounts {
		if !strings.HasPrefix(m.Name, "kube-api-access-") {
			mounts = append(mounts, m)
		}
	}
	c.VolumeMounts = mounts
	return c
}

func volume(pod *corev1.Pod, name string) int {
	for i, v := range pod.Spec.Volumes {
		if v.Name == name {
			return i
		}
	}
	return -1
}

// TestExampleDeploymentsAreTheSame checks that the two Deployments of udp-echo, by
// hand and by label, give the same pod.
func TestExampleDeploymentsAreTheSame(t *testing.T) {
	space := namespace(t)
	hand, label := template(t, "udp-echo/deployment.yaml"), template(t, "udp-echo/labeled.yaml")
	hand.Name, label.Name = "by-hand", "by-label"
	compare(t, create(t, space, hand), create(t, space, label))
}
