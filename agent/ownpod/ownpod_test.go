package ownpod_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}

// rights are all that the agent needs.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: portlease-agent, namespace: %[1]s}
rules:
- {apiGroups: [""], resources: [pods], verbs: [patch]}
- {apiGroups: [""], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: portlease-agent, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portlease-agent}
subjects:
- {kind: ServiceAccount, name: default, namespace: %[1]s}
`

// story is a pod with a writer that authenticates by the pod's own token.
type story struct {
	client    kubernetes.Interface
	namespace string
	pod       *corev1.Pod
	writer    *ownpod.Writer
}

func begin(t *testing.T, manifests string) story {
	t.Helper()
	client, err := kubernetes.NewForConfig(cluster.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := cluster.Namespace(t.Context(), "ownpod")
	if err != nil {
		t.Fatal(err)
	}
	if manifests != "" {
		if err := cluster.Apply(t.Context(), fmt.Appendf(nil, manifests, namespace)); err != nil {
			t.Fatal(err)
		}
	}
	s := story{client: client, namespace: namespace, pod: newPod(t, namespace)}
	token, err := cluster.PodToken(t.Context(), namespace, "game-0", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s.writer, err = ownpod.New(cluster.TokenConfig(token), lifecycle.Pod{Namespace: namespace, Name: "game-0", UID: string(s.pod.UID)}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPod(t *testing.T, namespace string) *corev1.Pod {
	t.Helper()
	pod, err := cluster.CreatePod(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "game-0", Annotations: map[string]string{"example.com/mine": "stays"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func (s story) annotations(t *testing.T) map[string]string {
	t.Helper()
	pod, err := s.client.CoreV1().Pods(s.namespace).Get(t.Context(), "game-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod.Annotations
}

var claim = api.Claim{
	UID: "u", LoadBalancer: api.LoadBalancer{Host: "games.elb.example"},
	Ports: []api.ClaimedPort{{Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: 30007}},
}

func TestAnnotationsComeAndGo(t *testing.T) {
	s := begin(t, rights)
	if err := s.writer.Announce(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	found := s.annotations(t)
	var read api.Claim
	if err := json.Unmarshal([]byte(found[ownpod.AnnotationClaim]), &read); err != nil || read.Ports[0].ListenerPort != 30007 {
		t.Errorf("claim reads %q, %v", found[ownpod.AnnotationClaim], err)
	}
	if found[ownpod.AnnotationEndpoint] != "games.elb.example:30007" || found["example.com/mine"] != "stays" {
		t.Errorf("annotations are %v", found)
	}
	for range 2 {
		if err := s.writer.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found := s.annotations(t); len(found) != 1 || found["example.com/mine"] != "stays" {
		t.Errorf("annotations are %v", found)
	}
}

func TestAnotherPodOfTheNameIsNotWrittenOn(t *testing.T) {
	s := begin(t, rights)
	if err := cluster.RemovePod(t.Context(), s.namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	// The token of a pod that is gone is refused; this one outlives it.
	cfg, err := cluster.ServiceAccount(t.Context(), s.namespace, "default")
	if err != nil {
		t.Fatal(err)
	}
	writer, err := ownpod.New(cfg, lifecycle.Pod{Namespace: s.namespace, Name: "game-0", UID: string(s.pod.UID)}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Withdraw(t.Context()); err != nil {
		t.Errorf("withdrawing from a pod that is gone: %v", err)
	}
	newPod(t, s.namespace)
	if err := writer.Announce(t.Context(), claim); err == nil {
		t.Error("wrote on another pod of the same name")
	}
	if found := s.annotations(t); len(found) != 1 {
		t.Errorf("annotations are %v", found)
	}
}

func TestEventsTellTheStory(t *testing.T) {
	s := begin(t, rights)
	if err := s.writer.Record(t.Context(), lifecycle.Warning, "ClaimNotGranted", strings.Repeat("ä", 1000)); err != nil {
		t.Fatal(err)
	}
	events, err := s.client.CoreV1().Events(s.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(s.pod.UID)})
	if err != nil || len(events.Items) != 1 {
		t.Fatalf("events are %v, %v", events, err)
	}
	e := events.Items[0]
	if e.Type != "Warning" || e.Reason != "ClaimNotGranted" || e.Source.Component != "portlease-agent" || len(e.Message) > 1024 || e.LastTimestamp.IsZero() {
		t.Errorf("event is %+v", e)
	}
}

func TestMissingRightNamesTheRemedy(t *testing.T) {
	s := begin(t, "")
	err := s.writer.Announce(t.Context(), claim)
	if err == nil || !strings.Contains(err.Error(), "needs a role in "+s.namespace) {
		t.Errorf("got %v", err)
	}
}
