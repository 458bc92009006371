package injection_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/portlease/portlease/shared/api"
)

// TestRefusalNamesTheProblem creates pods that cannot have an agent.
func TestRefusalNamesTheProblem(t *testing.T) {
	space := namespace(t)
	for name, test := range map[string]struct {
		shape func(*corev1.Pod)
		want  string
	}{
		"no annotations":        {func(p *corev1.Pod) { p.Annotations = nil }, "portlease.dev/ports is missing: name the ports to make public, such as game=7777/UDP"},
		"other annotations":     {func(p *corev1.Pod) { p.Annotations = map[string]string{"x": "y"} }, "portlease.dev/ports is missing"},
		"no ports":              {func(p *corev1.Pod) { p.Annotations[ports] = "" }, `portlease.dev/ports is "": write name=number/protocol`},
		"ports of another kind": {func(p *corev1.Pod) { p.Annotations[ports] = "game" }, `portlease.dev/ports is "game": write name=number/protocol`},
		"ports in two lines":    {func(p *corev1.Pod) { p.Annotations[ports] = "game=7777/UDP\nchat=8080" }, `is "game=7777/UDP\nchat=8080": write`},
		"port 0":                {func(p *corev1.Pod) { p.Annotations[ports] = "game=0/UDP" }, "port numbers are 1 to 65535"},
		"one name":              {func(p *corev1.Pod) { p.Annotations[ports] = "game=1/UDP,game=2/UDP" }, "each port needs a unique name"},
		"one port":              {func(p *corev1.Pod) { p.Annotations[ports] = "a=1/UDP,b=1/TCP_UDP" }, "two entries use the same port"},
		"too many":              {func(p *corev1.Pod) { p.Annotations[ports] = many(api.MaxPorts + 1) }, "more than 50 ports"},
		"host network":          {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "a pod on the host network has no address of its own: remove hostNetwork"},
		"no such container":     {func(p *corev1.Pod) { p.Annotations["portlease.dev/container"] = "shooter" }, `no container is named "shooter": name the container of the game in the annotation portlease.dev/container`},
	} {
		t.Run(name, func(t *testing.T) {
			pod := game("game")
			test.shape(pod)
			if words := refused(t, space, pod); !strings.Contains(words, "the pod is labeled portlease.dev/inject, but ") || !strings.Contains(words, test.want) {
				t.Errorf("got %q, want %q", words, test.want)
			}
		})
	}
}

func many(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("p%d=%d/UDP", i, i+1))
	}
	return strings.Join(all, ",")
}

// TestPolicyAndAgentAcceptTheSamePorts checks that the policy accepts exactly those
// ports that the agent accepts.
func TestPolicyAndAgentAcceptTheSamePorts(t *testing.T) {
	space := namespace(t)
	long := strings.Repeat("a", 63)
	for _, text := range []string{
		"game=7777/UDP", "game=7777", "7777", "7777/UDP", "7777/TCP_UDP", "07777/UDP", "game=7777/UDP,chat=8080/TCP", " game=7777 , chat=8080 ",
		"a=1/UDP,b=1/TCP", "a=1,b=2,c=3", "65535", "1", long + "=1", "a-b=1", "7777=8080", many(api.MaxPorts), "9901", "game=7777/UDP\t",
		"", ",", "game", "game=", "=7777", "game=7777/", "game=7777/SCTP", "game=7777/udp", "game=7777/UDP/TCP", "game=7777=8888", "Game=7777",
		"-a=1", "a-=1", "a_b=1", long + "a=1", "game=0", "game=65536", "game=99999", "game=777777", "game=-1", "game=7777,", ",game=7777",
		"game=7777;chat=8080", "game=7777 chat=8080", "game = 7777", "game=7777/UDP,game=8080/TCP", "a=1/UDP,b=1/UDP", "a=1,b=01", "a=1/TCP_UDP,b=1/TCP",
		"a=1/TCP,b=1/TCP_UDP", "7777,7777=1", "game=7777/TCPUDP", "game=0x10", many(api.MaxPorts + 1),
	} {
		pod := game("game")
		pod.Annotations[ports] = text
		_, err := api.ParsePorts(text)
		if words := refused(t, space, pod); (words == "") != (err == nil) {
			t.Errorf("%q: the policy says %q, the agent %v", text, words, err)
		}
	}
}
