package injection_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// owned sets the metadata that a controller writes on its pods.
func owned(pod *corev1.Pod, apiVersion, kind string, labels map[string]string) {
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: apiVersion, Kind: kind, Name: "shooter", UID: "00000000-0000-0000-0000-000000000001", Controller: new(true), BlockOwnerDeletion: new(true),
	}}
	maps.Copy(pod.Labels, labels)
}

// fleet gives the pod of the Fleet in docs/sidecar.md as Agones 1.57 creates it
// (pkg/apis/agones/v1/gameserver.go and pkg/gameservers/controller.go there). The SDK
// server is a sidecar or, as in older versions, the first container.
func fleet(t *testing.T, sidecar bool) *corev1.Pod {
	t.Helper()
	var written struct {
		Spec struct {
			Template struct {
				Spec struct {
					Template corev1.Pod `json:"template"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	onPage(t, "Fleet", &written)
	pod := written.Spec.Template.Spec.Template
	pod.Name, pod.Spec.Hostname = "shooter-x7k2p-q9w4z", "shooter-x7k2p-q9w4z"
	owned(&pod, "agones.dev/v1", "GameServer", map[string]string{"agones.dev/role": "gameserver", "agones.dev/gameserver": pod.Name})
	pod.Annotations["agones.dev/container"], pod.Annotations["agones.dev/sdk-version"] = "shooter", "1.57.0"
	// Agones gives the game no token unless the pod has its own service account.
	pod.Spec.ServiceAccountName = "agones-sdk"
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	game := &pod.Spec.Containers[0]
	game.VolumeMounts = append(game.VolumeMounts, corev1.VolumeMount{Name: "empty", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true})
	game.Ports = append(game.Ports, corev1.ContainerPort{ContainerPort: 7777, Protocol: corev1.ProtocolUDP})
	game.LivenessProbe = &corev1.Probe{
		ProbeHandler:        corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/gshealthz", Port: intstr.FromInt32(8080)}},
		InitialDelaySeconds: 5, PeriodSeconds: 5, FailureThreshold: 3,
	}
	game.Env = append(game.Env, corev1.EnvVar{Name: "AGONES_SDK_GRPC_PORT", Value: "9357"}, corev1.EnvVar{Name: "AGONES_SDK_HTTP_PORT", Value: "9358"})
	sdk := corev1.Container{
		Name: "agones-gameserver-sidecar", Image: "us-docker.pkg.dev/agones-images/release/agones-sdk:1.57.0", Args: []string{"--grpc-port=9357", "--http-port=9358"},
		Env: []corev1.EnvVar{{Name: "GAMESERVER_NAME", Value: pod.Name}},
	}
	if !sidecar {
		pod.Spec.Containers = slices.Concat([]corev1.Container{sdk}, pod.Spec.Containers)
		return &pod
	}
	sdk.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	pod.Spec.InitContainers = slices.Concat([]corev1.Container{sdk}, pod.Spec.InitContainers)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	return &pod
}

// gameServerSet gives the pod of the GameServerSet in docs/sidecar.md as OpenKruise
// creates it (pkg/util/gameserver.go of kruise-game, and its Advanced StatefulSet).
func gameServerSet(t *testing.T) *corev1.Pod {
	t.Helper()
	var written struct {
		Spec struct {
			Template corev1.Pod `json:"gameServerTemplate"`
		} `json:"spec"`
	}
	onPage(t, "GameServerSet", &written)
	pod := written.Spec.Template
	pod.Name, pod.Spec.Hostname, pod.Spec.Subdomain = "shooter-0", "shooter-0", "shooter"
	owned(&pod, "apps.kruise.io/v1beta1", "StatefulSet", map[string]string{"game.kruise.io/owner-gss": "shooter", "statefulset.kubernetes.io/pod-name": "shooter-0"})
	pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: "InPlaceUpdateReady"})
	return &pod
}

// onPage reads the only example of a kind on the page.
func onPage(t *testing.T, kind string, into any) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/sidecar.md"))
	must(t, err)
	for _, block := range strings.Split(string(page), "\n```yaml\n")[1:] {
		if block, _, _ = strings.Cut(block, "```\n"); strings.Contains(block, "\nkind: "+kind+"\n") {
			must(t, yaml.Unmarshal([]byte(block), into))
			return
		}
	}
	t.Fatalf("the page has no %s", kind)
}

// TestPodsOfControllersGetTheAgent creates pods as controllers make them from their
// templates.
func TestPodsOfControllersGetTheAgent(t *testing.T) {
	deployment := byLabel(template(t, "udp-echo/deployment.yaml"))
	deployment.GenerateName = "udp-echo-5d4f8c7b9-"
	owned(deployment, "apps/v1", "ReplicaSet", map[string]string{"pod-template-hash": "5d4f8c7b9"})
	set := byLabel(template(t, "tcp-echo/statefulset.yaml"))
	set.Name, set.Spec.Hostname, set.Spec.Subdomain = "tcp-echo-0", "tcp-echo-0", "tcp-echo"
	owned(set, "apps/v1", "StatefulSet", map[string]string{"apps.kubernetes.io/pod-index": "0", "statefulset.kubernetes.io/pod-name": "tcp-echo-0"})
	set.Spec.Volumes = append(set.Spec.Volumes, corev1.Volume{
		Name: "maps", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "maps-tcp-echo-0"}},
	})
	for name, test := range map[string]struct {
		pod   *corev1.Pod
		game  int
		inits []string
	}{
		"Deployment":                       {deployment, 0, []string{agentName}},
		"StatefulSet":                      {set, 0, []string{agentName}},
		"Fleet, SDK server as a sidecar":   {fleet(t, true), 0, []string{agentName, "agones-gameserver-sidecar"}},
		"Fleet, SDK server as a container": {fleet(t, false), 1, []string{agentName}},
		"GameServerSet":                    {gameServerSet(t), 0, []string{agentName}},
	} {
		t.Run(name, func(t *testing.T) {
			made := create(t, namespace(t), test.pod)
			var inits []string
			for _, c := range made.Spec.InitContainers {
				inits = append(inits, c.Name)
			}
			if !slices.Equal(inits, test.inits) {
				t.Errorf("the init containers are %q, want %q", inits, test.inits)
			}
			if got := credentialed(t, made); !slices.Equal(got, []string{agentName}) {
				t.Errorf("%q get AWS credentials, want the agent alone", got)
			}
			for i, c := range made.Spec.Containers {
				ours := slices.Index(names(t, c), "PORTLEASE_ENDPOINT") >= 0 && mountOf(c, "/portlease") == agentName
				if ours != (i == test.game) {
					t.Errorf("container %s has the variables %q and at /portlease %s", c.Name, names(t, c), mountOf(c, "/portlease"))
				}
				for _, v := range test.pod.Spec.Containers[i].Env {
					if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == v.Name && e.Value == v.Value }) {
						t.Errorf("container %s has lost %s", c.Name, v.Name)
					}
				}
			}
			if !slices.Equal(made.Spec.ReadinessGates, test.pod.Spec.ReadinessGates) || made.Spec.Hostname != test.pod.Spec.Hostname {
				t.Errorf("it became\n%s", text(t, made.Spec))
			}
			for _, v := range slices.Concat(test.pod.Spec.Volumes, []corev1.Volume{{Name: agentName}, {Name: "portlease-identity"}}) {
				if volume(made, v.Name) < 0 {
					t.Errorf("there is no volume %s", v.Name)
				}
			}
		})
	}
}
