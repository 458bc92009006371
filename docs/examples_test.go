package docs_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// example returns the only block of a language on docs/handing-over.md.
func example(t *testing.T, language string) string {
	t.Helper()
	blocks := strings.Split(page(t), "\n```"+language+"\n")
	if len(blocks) != 2 {
		t.Fatalf("docs/handing-over.md has %d examples in %s, want 1", len(blocks)-1, language)
	}
	text, _, _ := strings.Cut(blocks[1], "\n```\n")
	return text + "\n"
}

// runInGame runs a program with the agent's files in PORTLEASE_DIR, as a game does,
// and returns its output.
func runInGame(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append(os.Environ(), "PORTLEASE_DIR="+handOver(t))
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestShellExamplePrintsEndpoint(t *testing.T) {
	want := "players reach this game at games.example:30007, its chat at games.example:30008\n" +
		"the same without sourcing: games.example:30007, chat on 30008\n"
	if got := runInGame(t, "sh", "-euc", example(t, "sh")); got != want {
		t.Errorf("got output %q, want %q", got, want)
	}
}

func TestGoExamplePrintsPorts(t *testing.T) {
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte(example(t, "go")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", program).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the Go example is not formatted: %s, %v", out, err)
	}
	if got, want := runInGame(t, "go", "run", program), "game: games.example port 30007 over UDP\nchat: games.example port 30008 over TCP\n"; got != want {
		t.Errorf("got output %q, want %q", got, want)
	}
}

// TestAPIServerAcceptsManifest applies the page's manifest, and compares what the API
// server has stored with the agent's settings and files.
func TestAPIServerAcceptsManifest(t *testing.T) {
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
		t.Errorf("got readiness gates %v, want %s", g, ownpod.ConditionReachable)
	}
	settings, game := settingsOf(t, pod.Spec.InitContainers[0]), pod.Spec.Containers[0]
	ports, err := api.ParsePorts(pod.Annotations["portlease.dev/ports"])
	if err != nil || len(ports) != len(claim.Ports) {
		t.Fatalf("got ports %v, %v, want %v", ports, err, claim.Ports)
	}
	for i, p := range ports {
		if p != claim.Ports[i].Port || int(game.Ports[i].ContainerPort) != p.TargetPort || string(game.Ports[i].Protocol) != string(p.Protocol) {
			t.Errorf("port %d: the annotation has %+v, the container %+v", i, p, game.Ports[i])
		}
	}
	known := variables(t, handOver(t))
	for _, v := range game.Env {
		ref := v.ValueFrom.FileKeyRef
		if ref == nil || ref.Path != announce.FileEnv || !slices.Contains(known, ref.Key) ||
			!slices.ContainsFunc(pod.Spec.InitContainers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.Name == ref.VolumeName && m.MountPath == settings["PORTLEASE_DIR"]
			}) {
			t.Errorf("the agent does not write what %s refers to: %+v", v.Name, ref)
		}
	}
	if len(game.Env) == 0 {
		t.Error("the game's container has no variables")
	}
}

// settingsOf returns the settings of an agent's container: its variables, and the
// defaults of the rest. A variable that the agent does not know is an error.
func settingsOf(t *testing.T, c corev1.Container) map[string]string {
	t.Helper()
	settings := agentDefaults(t)
	for _, v := range c.Env {
		if settings[v.Name] == "" {
			t.Errorf("the agent does not know %s", v.Name)
		}
		settings[v.Name] = v.Value
	}
	return settings
}

// agentDefaults maps the variable of each setting of the agent to its default, "-" if
// it has none.
func agentDefaults(t *testing.T) map[string]string {
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
	return settings
}

// TestAgentPageListsEverySetting with its default.
func TestAgentPageListsEverySetting(t *testing.T) {
	listed, settings := map[string]bool{}, map[string]bool{}
	for variable, value := range agentDefaults(t) {
		settings[variable+" "+value] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(PORTLEASE_[A-Z_]+)` \\| `?([^ `]+)`? \\|").FindAllStringSubmatch(read(t, "docs/agent.md"), -1) {
		listed[m[1]+" "+m[2]] = true
	}
	agreeSets(t, "docs/agent.md", listed, settings)
}
