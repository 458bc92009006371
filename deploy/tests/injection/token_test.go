package injection_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// tokenPath is where Kubernetes mounts the token of the service account.
const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// withToken gives the containers of a pod that have the token that Kubernetes mounts.
func withToken(pod *corev1.Pod) (names []string) {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.MountPath == tokenPath && strings.HasPrefix(m.Name, "kube-api-access-")
		}) {
			names = append(names, c.Name)
		}
	}
	return names
}

// TestGameGetsNoTokenUnlessThePodSaysSo creates pods that do and do not say whether
// Kubernetes mounts the token of the service account. The agent has a token of its own.
func TestGameGetsNoTokenUnlessThePodSaysSo(t *testing.T) {
	all := []string{agentName, "first", "game", "logs"}
	for name, test := range map[string]struct {
		says  *bool
		shape func(*corev1.Pod)
		want  []string
		ends  *bool // what the pod says afterwards
	}{
		"nothing": {nil, nil, nil, new(false)},
		"nothing, with volumes and mounts": {nil, func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "maps", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			for i := range p.Spec.Containers {
				p.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "maps", MountPath: "/maps"}}
			}
		}, nil, new(false)},
		"no":  {new(false), nil, nil, new(false)},
		"yes": {new(true), nil, all, new(true)},
		// Agones' SDK server needs the token, and Agones keeps it from the game.
		"nothing, in a pod of Agones": {nil, func(p *corev1.Pod) { p.Annotations["agones.dev/container"] = "game" }, all, nil},
	} {
		t.Run(name, func(t *testing.T) {
			pod := game("game")
			pod.Spec.AutomountServiceAccountToken = test.says
			pod.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "x"}}
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "logs", Image: "x"})
			if test.shape != nil {
				test.shape(pod)
			}
			made := create(t, namespace(t), pod)
			if got := withToken(made); !slices.Equal(got, test.want) {
				t.Errorf("%q have the token, want %q", got, test.want)
			}
			if got := slices.ContainsFunc(made.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, "kube-api-access-") }); got != (test.want != nil) {
				t.Errorf("the volumes are\n%s", text(t, made.Spec.Volumes))
			}
			if got := made.Spec.AutomountServiceAccountToken; (got == nil) != (test.ends == nil) || got != nil && *got != *test.ends {
				t.Errorf("automountServiceAccountToken is\n%s", text(t, got))
			}
			for i, c := range pod.Spec.Containers {
				for _, m := range c.VolumeMounts {
					if mountOf(made.Spec.Containers[i], m.MountPath) == "none" {
						t.Errorf("container %s has lost its mount at %s", c.Name, m.MountPath)
					}
				}
			}
		})
	}
}

// TestTokensOfTheAgentAreShortLived checks the projected tokens: each for one audience,
// for ten minutes, which is the least that Kubernetes accepts.
func TestTokensOfTheAgentAreShortLived(t *testing.T) {
	made := create(t, namespace(t), game("game"))
	tokens := make(map[string]int64)
	for _, s := range made.Spec.Volumes[volume(made, "portlease-identity")].Projected.Sources {
		if s.ServiceAccountToken != nil {
			tokens[s.ServiceAccountToken.Audience] = *s.ServiceAccountToken.ExpirationSeconds
		}
	}
	if len(tokens) != 2 || tokens["portlease"] != 600 || tokens[""] != 600 {
		t.Errorf("the tokens by audience last %v seconds, want 600", tokens)
	}
}
