package rules_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	agent "github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// agentDefaults are the agent's settings as its help lists them, variable →
// default; "-" stands for none.
func agentDefaults(t *testing.T) map[string]string {
	t.Helper()
	var help bytes.Buffer
	if _, err := agent.Parse([]string{"--help"}, func(string) string { return "" }, &help); !errors.Is(err, daemon.ErrHelp) {
		t.Fatal(err)
	}
	defaults := make(map[string]string)
	for line := range strings.Lines(help.String()) {
		if words := strings.Fields(line); len(words) > 3 && strings.HasPrefix(words[0], "-") {
			defaults[words[1]] = words[2]
		}
	}
	for _, known := range []string{
		"PORTLEASE_PORTS", "PORTLEASE_HTTP_ADDRESS", "PORTLEASE_DIR", "PORTLEASE_TOKEN_FILE", "PORTLEASE_ALLOCATOR_CA", "PORTLEASE_KUBE_TOKEN_FILE", "PORTLEASE_KUBE_CA",
	} {
		if defaults[known] == "" {
			t.Fatalf("the help does not list %s: %s", known, &help)
		}
	}
	return defaults
}

// example is one manifest of examples/.
type example struct {
	*testing.T
	path     string
	pod      corev1.PodTemplateSpec
	defaults map[string]string
	// agent is nil where the cluster adds it.
	agent *corev1.Container
	game  corev1.Container
}

func TestExamplesAgree(t *testing.T) {
	manifests, err := filepath.Glob(filepath.Join(root, "examples/*/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defaults := agentDefaults(t)
	kinds := make(map[string]int)
	byHand, byLabel := 0, 0
	for _, path := range manifests {
		t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(t *testing.T) {
			e := example{T: t, path: path, defaults: defaults}
			kinds[e.read()]++
			e.portsAgree()
			if e.agent == nil {
				byLabel++
				return
			}
			byHand++
			e.probesReachTheAgent()
			e.probesArePatient()
			e.settingsAreKnown()
			e.filesAreMounted()
		})
	}
	if kinds["Pod"] == 0 || kinds["Deployment"] == 0 || kinds["StatefulSet"] == 0 || byHand == 0 || byLabel == 0 {
		t.Errorf("of each kind there are %v, %d by hand and %d by label", kinds, byHand, byLabel)
	}
}

// read finds the pod in a manifest of any kind, and gives the kind.
func (e *example) read() (kind string) {
	e.Helper()
	text, err := os.ReadFile(e.path)
	if err != nil {
		e.Fatal(err)
	}
	var typed metav1.TypeMeta
	if err := yaml.Unmarshal(text, &typed); err != nil {
		e.Fatal(err)
	}
	switch typed.Kind {
	case "Pod":
		var pod corev1.Pod
		err = yaml.UnmarshalStrict(text, &pod)
		e.pod = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	case "Deployment":
		var deployment appsv1.Deployment
		err = yaml.UnmarshalStrict(text, &deployment)
		e.pod = deployment.Spec.Template
		e.deadlineIsLater(deployment)
	case "StatefulSet":
		var set appsv1.StatefulSet
		err = yaml.UnmarshalStrict(text, &set)
		e.pod = set.Spec.Template
		if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
			e.Errorf("its pods wait for one another: podManagementPolicy is %q", set.Spec.PodManagementPolicy)
		}
	default:
		e.Fatalf("it is a %s", typed.Kind)
	}
	if err != nil {
		e.Fatal(err)
	}
	e.game = e.pod.Spec.Containers[0]
	if e.pod.Labels["portlease.dev/inject"] == "true" {
		return typed.Kind
	}
	e.agent = &e.pod.Spec.InitContainers[0]
	if e.agent.Name != "portlease" || e.agent.RestartPolicy == nil || *e.agent.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		e.Errorf("the first sidecar is %s, whose restartPolicy is %v", e.agent.Name, e.agent.RestartPolicy)
	}
	return typed.Kind
}

// valueOf is a literal environment variable of a container; empty if there is
// none.
func valueOf(c corev1.Container, name string) string {
	for _, v := range c.Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// portsAgree holds the game's port to be one and the same in the annotation, the
// container, its environment and the program.
func (e *example) portsAgree() {
	ports, err := api.ParsePorts(e.pod.Annotations["portlease.dev/ports"])
	if err != nil {
		e.Fatal(err)
	}
	for _, p := range ports {
		transports := []corev1.Protocol{corev1.Protocol(p.Protocol)}
		if p.Protocol == api.TCPUDP {
			transports = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}
		}
		for _, transport := range transports {
			if !slices.ContainsFunc(e.game.Ports, func(c corev1.ContainerPort) bool {
				return int(c.ContainerPort) == p.TargetPort && c.Protocol == transport
			}) {
				e.Errorf("port %+v is none of the game's containerPorts %+v", p, e.game.Ports)
			}
		}
	}
	if len(e.game.Ports) != len(ports) {
		e.Errorf("the game has ports %+v, the agent is told of %+v", e.game.Ports, ports)
	}
	listen := valueOf(e.game, "LISTEN")
	if want := ":" + strconv.Itoa(ports[0].TargetPort); listen != want {
		e.Errorf("LISTEN is %q, want %q", listen, want)
	}
	address, network := e.program()
	if address != listen || network != strings.ToLower(string(ports[0].Protocol)) {
		e.Errorf("the program listens on %s %q by itself, the manifest says %s %q", network, address, ports[0].Protocol, listen)
	}
	if want := []string{"/" + filepath.Base(filepath.Dir(e.path))}; !slices.Equal(e.game.Command, want) {
		e.Errorf("the game's command is %v, want %v", e.game.Command, want)
	}
}

// program reads from main.go what the game listens on when LISTEN is not set:
// cmp.Or(os.Getenv("LISTEN"), address), and Listen or ListenPacket with a network.
func (e *example) program() (address, network string) {
	e.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(filepath.Dir(e.path), "main.go"), nil, 0)
	if err != nil {
		e.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		switch {
		case !ok:
		case f.Sel.Name == "Or" && len(call.Args) == 2:
			if env, ok := call.Args[0].(*ast.CallExpr); ok && len(env.Args) == 1 && literal(env.Args[0]) == "LISTEN" {
				address = literal(call.Args[1])
			}
		case f.Sel.Name == "Listen" || f.Sel.Name == "ListenPacket":
			network = literal(call.Args[1])
		}
		return true
	})
	return address, network
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok {
		text, _ := strconv.Unquote(l.Value) // what is no string is none of those looked for
		return text
	}
	return ""
}

// probesReachTheAgent holds the probes, and for games that speak UDP only the
// load balancer's health checks, to meet the agent where it listens by default.
func (e *example) probesReachTheAgent() {
	_, want, err := net.SplitHostPort(e.defaults["PORTLEASE_HTTP_ADDRESS"])
	if err != nil {
		e.Fatal(err)
	}
	if own := valueOf(*e.agent, "PORTLEASE_HTTP_ADDRESS"); own != "" {
		e.Errorf("PORTLEASE_HTTP_ADDRESS is set to %q: the examples use the default", own)
	}
	if len(e.agent.Ports) != 1 || strconv.Itoa(int(e.agent.Ports[0].ContainerPort)) != want || e.agent.Ports[0].Protocol != corev1.ProtocolTCP {
		e.Fatalf("the agent's ports are %+v, want %s/TCP", e.agent.Ports, want)
	}
	for path, probe := range map[string]*corev1.Probe{
		"/startupz": e.agent.StartupProbe, "/readyz": e.agent.ReadinessProbe, "/livez": e.agent.LivenessProbe,
	} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path {
			e.Errorf("no probe of the agent asks for %s", path)
			continue
		}
		port := probe.HTTPGet.Port
		if port.Type == intstr.String && port.StrVal != e.agent.Ports[0].Name || port.Type == intstr.Int && strconv.Itoa(port.IntValue()) != want {
			e.Errorf("the probe of %s asks port %s, want %s", path, port.String(), want)
		}
	}
	if slices.ContainsFunc(e.game.Ports, func(p corev1.ContainerPort) bool { return strconv.Itoa(int(p.ContainerPort)) == want }) {
		e.Errorf("game and agent both listen on %s", want)
	}
}

func (e *example) settingsAreKnown() {
	for _, c := range slices.Concat(e.pod.Spec.InitContainers, e.pod.Spec.Containers) {
		for _, v := range c.Env {
			handedOver := v.ValueFrom != nil && v.ValueFrom.FileKeyRef != nil // by the agent, to the game
			if strings.HasPrefix(v.Name, "PORTLEASE_") && !handedOver && e.defaults[v.Name] == "" {
				e.Errorf("container %s has %s, which the agent does not know", c.Name, v.Name)
			}
		}
	}
	for name, field := range map[string]string{
		"PORTLEASE_NAMESPACE": "metadata.namespace", "PORTLEASE_POD": "metadata.name", "PORTLEASE_POD_UID": "metadata.uid", "PORTLEASE_POD_IP": "status.podIP",
		"PORTLEASE_PORTS": "metadata.annotations['portlease.dev/ports']", "PORTLEASE_POOL": "metadata.annotations['portlease.dev/pool']",
		"PORTLEASE_HEALTH": "metadata.annotations['portlease.dev/health']",
	} {
		if !slices.ContainsFunc(e.agent.Env, func(v corev1.EnvVar) bool {
			return v.Name == name && v.ValueFrom != nil && v.ValueFrom.FieldRef != nil && v.ValueFrom.FieldRef.FieldPath == field
		}) {
			e.Errorf("%s does not come from %s", name, field)
		}
	}
}
