package injection_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// names gives the names of a container's variables in order. Variables of portlease
// must come from the file that the agent writes.
func names(t *testing.T, c corev1.Container) (all []string) {
	t.Helper()
	for _, v := range c.Env {
		if ref := v.ValueFrom; ref != nil && ref.FileKeyRef != nil {
			if f := ref.FileKeyRef; f.Key != v.Name || f.Path != "env" || f.VolumeName != agentName || f.Optional != nil && *f.Optional {
				t.Errorf("%s comes from %+v", v.Name, f)
			}
		} else {
			v.Name += "=" + v.Value
		}
		all = append(all, v.Name)
	}
	return all
}

func mountOf(c corev1.Container, path string) string {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			if !m.ReadOnly {
				return m.Name + ", to be written"
			}
			return m.Name
		}
	}
	return "none"
}

// TestGameContainerGetsTheEndpoint creates pods of many shapes: one container gets
// the endpoint's variables and mount, and everything else stays.
func TestGameContainerGetsTheEndpoint(t *testing.T) {
	plain := []string{"PORTLEASE_HOST", "PORTLEASE_PORT", "PORTLEASE_ENDPOINT", "PORTLEASE_PORT_GAME"}
	for name, test := range map[string]struct {
		shape func(*corev1.Pod)
		// game is the index of the container that gets the endpoint. env has its
		// variables afterwards, and mount the volume at /portlease.
		game  int
		env   []string
		mount string
		inits []string
	}{
		"nothing of its own": {func(*corev1.Pod) {}, 0, plain, "portlease", []string{agentName}},
		"variables of its own": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PUBLIC", Value: "$(PORTLEASE_ENDPOINT)"}}
		}, 0, append(slices.Clone(plain), "PUBLIC=$(PORTLEASE_ENDPOINT)"), "portlease", []string{agentName}},
		"variables of our names": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PORTLEASE_PORT", Value: "1"}}
		}, 0, []string{"PORTLEASE_HOST", "PORTLEASE_ENDPOINT", "PORTLEASE_PORT_GAME", "PORTLEASE_PORT=1"}, "portlease", []string{agentName}},
		"an empty list of each": {func(p *corev1.Pod) {
			p.Spec.InitContainers, p.Spec.Volumes = []corev1.Container{}, []corev1.Volume{}
			p.Spec.Containers[0].Env, p.Spec.Containers[0].VolumeMounts = []corev1.EnvVar{}, []corev1.VolumeMount{}
		}, 0, plain, "portlease", []string{agentName}},
		"several ports": {func(p *corev1.Pod) {
			p.Annotations[ports] = " game=7777/UDP , voice-chat=8080/TCP,9000,both=7778/TCP_UDP"
		}, 0,
			append(slices.Clone(plain), "PORTLEASE_PORT_VOICE_CHAT", "PORTLEASE_PORT_9000", "PORTLEASE_PORT_BOTH"), "portlease", []string{agentName}},
		"init containers of its own": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "x"}, {Name: "second", Image: "x"}}
		}, 0, plain, "portlease", []string{agentName, "first", "second"}},
		"volumes of its own": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "maps", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "maps", MountPath: "/maps"}}
		}, 0, plain, "portlease", []string{agentName}},
		"our volume and a mount, by hand": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: agentName, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: agentName, MountPath: "/portlease"}}
		}, 0, plain, "portlease, to be written", []string{agentName}},
		"containers without credentials, by hand": {func(p *corev1.Pod) {
			p.Annotations[skip] = " istio-proxy, game,"
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "x"}}
		}, 0, plain, "portlease", []string{agentName, "first"}},
		"several containers": {func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "logs", Image: "x"})
		}, 0, plain, "portlease", []string{agentName}},
		"the game is the second container": {func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "shooter", Image: "x"})
			p.Annotations["portlease.dev/container"] = "shooter"
		}, 1, plain, "portlease", []string{agentName}},
		"the game is what Agones says": {func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "shooter", Image: "x"})
			p.Annotations["agones.dev/container"] = "shooter"
		}, 1, plain, "portlease", []string{agentName}},
		"the game is not what Agones says": {func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "shooter", Image: "x"})
			p.Annotations["agones.dev/container"], p.Annotations["portlease.dev/container"] = "shooter", "game"
		}, 0, plain, "portlease", []string{agentName}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := game("game")
			test.shape(pod)
			made := create(t, namespace(t), pod)
			inits := []string{}
			for _, c := range made.Spec.InitContainers {
				inits = append(inits, c.Name)
			}
			if !slices.Equal(inits, test.inits) {
				t.Errorf("the init containers are %q, want %q", inits, test.inits)
			}
			for i, c := range made.Spec.Containers {
				if i != test.game {
					same(t, "container "+c.Name, withoutDefaults(c), withoutDefaults(pod.Spec.Containers[i]))
					continue
				}
				if got := names(t, c); !slices.Equal(got, test.env) {
					t.Errorf("the game has the variables %q, want %q", got, test.env)
				}
				if got := mountOf(c, "/portlease"); got != test.mount {
					t.Errorf("at /portlease is %s, want %s", got, test.mount)
				}
			}
			for _, v := range pod.Spec.Volumes {
				if volume(made, v.Name) < 0 {
					t.Errorf("volume %s is gone", v.Name)
				}
			}
			for _, v := range []string{agentName, "portlease-identity"} {
				if volume(made, v) < 0 {
					t.Errorf("there is no volume %s", v)
				}
			}
			if got := credentialed(t, made); !slices.Equal(got, []string{agentName}) {
				t.Errorf("%q get AWS credentials, by the annotation %q; want the agent alone", got, made.Annotations[skip])
			}
			if got := made.Annotations["portlease.dev/pool"]; got != "default" {
				t.Errorf("the pool is %q", got)
			}
		})
	}
}

// withoutDefaults keeps only the fields of a container that the test sets.
func withoutDefaults(c corev1.Container) corev1.Container {
	return corev1.Container{Name: c.Name, Image: c.Image, Env: c.Env, VolumeMounts: withoutKubernetesOwn(c).VolumeMounts}
}

// TestOtherPodsAreUnchanged creates pods that the policies do not match.
func TestOtherPodsAreUnchanged(t *testing.T) {
	for name, shape := range map[string]func(*corev1.Pod){
		"no label":                     func(p *corev1.Pod) { p.Labels = nil },
		"another value of the label":   func(p *corev1.Pod) { p.Labels[labeled] = "false" },
		"neither label nor ports":      func(p *corev1.Pod) { p.Labels, p.Annotations = nil, nil },
		"the agent already, a sidecar": func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: agentName, Image: "x"}} },
		"the agent already, a container": func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: agentName, Image: "x"})
		},
		"the agent already, ports in a variable": func(p *corev1.Pod) {
			p.Annotations = nil
			p.Spec.InitContainers = []corev1.Container{{Name: agentName, Image: "x", Env: []corev1.EnvVar{{Name: "PORTLEASE_PORTS", Value: "7777"}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := game("game")
			shape(pod)
			made := create(t, namespace(t), pod)
			if len(made.Spec.InitContainers) != len(pod.Spec.InitContainers) || len(made.Spec.Containers) != len(pod.Spec.Containers) ||
				len(made.Spec.Containers[0].Env) != 0 || volume(made, agentName) >= 0 || len(made.Annotations) != len(pod.Annotations) {
				t.Errorf("it became\n%s", text(t, made))
			}
		})
	}
}

// TestLabelAddedLaterChangesNothing labels a running pod, to which no container can
// be added.
func TestLabelAddedLaterChangesNothing(t *testing.T) {
	space, pod := namespace(t), game("game")
	pod.Labels, pod.Annotations = nil, nil
	create(t, space, pod)
	after, err := admin.CoreV1().Pods(space).Patch(t.Context(), "game", types.MergePatchType, []byte(`{"metadata":{"labels":{"portlease.dev/inject":"true"}}}`), metav1.PatchOptions{})
	must(t, err)
	if len(after.Spec.InitContainers) != 0 || len(after.Annotations) != 0 {
		t.Errorf("it became\n%s", text(t, after))
	}
}
