package docs_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/agent/announce"
	agent "github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}

// example is the page's one block of a language.
func example(t *testing.T, language string) string {
	t.Helper()
	blocks := strings.Split(page(t), "\n```"+language+"\n")
	if len(blocks) != 2 {
		t.Fatalf("the page has %d examples in %s", len(blocks)-1, language)
	}
	text, _, _ := strings.Cut(blocks[1], "\n```\n")
	return text + "\n"
}

// play runs a program with a folder as a game finds it, and gives what it
// prints.
func play(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append(os.Environ(), "PORTLEASE_DIR="+handOver(t))
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestTheShellExampleRuns(t *testing.T) {
	want := "players reach this game at games.example:30007, its chat at games.example:30008\n" +
		"the same without sourcing: games.example:30007, chat on 30008\n"
	if got := play(t, "sh", "-euc", example(t, "sh")); got != want {
		t.Errorf("it prints %q, want %q", got, want)
	}
}

func TestTheGoExampleRuns(t *testing.T) {
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte(example(t, "go")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", program).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("it is not formatted: %s, %v", out, err)
	}
	if got, want := play(t, "go", "run", program), "game: games.example port 30007 over UDP\nchat: games.example port 30008 over TCP\n"; got != want {
		t.Errorf("it prints %q, want %q", got, want)
	}
}

// TestTheManifestIsTaken applies it and looks at what the API server has kept.
func TestTheManifestIsTaken(t *testing.T) {
	namespace, err := cluster.Namespace(t.Context(), "pages")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.ServiceAccount(t.Context(), namespace, "game"); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(example(t, "yaml"), "namespace: games\n", "namespace: "+namespace+"\n", 1)
	var written corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &written); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Apply(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
	admin, err := kubernetes.NewForConfig(cluster.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	pod, err := admin.CoreV1().Pods(namespace).Get(t.Context(), written.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if g := pod.Spec.ReadinessGates; len(g) != 1 || g[0].ConditionType != ownpod.ConditionReachable {
		t.Errorf("the readiness gates are %v", g)
	}
	settings, game := settingsOf(t, pod.Spec.InitContainers[0]), pod.Spec.Containers[0]
	ports, err := api.ParsePorts(pod.Annotations["portlease.dev/ports"])
	if err != nil || len(ports) != len(claim.Ports) {
		t.Fatalf("the ports are %v, %v", ports, err)
	}
	for i, p := range ports {
		if p != claim.Ports[i].Port || int(game.Ports[i].ContainerPort) != p.TargetPort || string(game.Ports[i].Protocol) != string(p.Protocol) {
			t.Errorf("port %d is %+v, the game's %+v", i, p, game.Ports[i])
		}
	}
	known := variables(t, handOver(t))
	for _, v := range game.Env {
		ref := v.ValueFrom.FileKeyRef
		if ref == nil || ref.Path != announce.FileEnv || !slices.Contains(known, ref.Key) ||
			!slices.ContainsFunc(pod.Spec.InitContainers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.Name == ref.VolumeName && m.MountPath == settings["PORTLEASE_DIR"]
			}) {
			t.Errorf("the game has %s from %+v", v.Name, ref)
		}
	}
	if len(game.Env) == 0 {
		t.Error("the game has no variables")
	}
}

// settingsOf are an agent's settings, by default or by its environment. One that
// the agent does not know is an error.
func settingsOf(t *testing.T, c corev1.Container) map[string]string {
	t.Helper()
	var help strings.Builder
	if _, err := agent.Parse([]string{"--help"}, func(string) string { return "" }, io.Writer(&help)); !errors.Is(err, daemon.ErrHelp) {
		t.Fatal(err)
	}
	settings := make(map[string]string)
	for line := range strings.Lines(help.String()) {
		if words := strings.Fields(line); len(words) > 3 && strings.HasPrefix(words[0], "-") {
			settings[words[1]] = words[2]
		}
	}
	for _, v := range c.Env {
		if settings[v.Name] == "" {
			t.Errorf("the agent does not know %s", v.Name)
		}
		settings[v.Name] = v.Value
	}
	return settings
}
