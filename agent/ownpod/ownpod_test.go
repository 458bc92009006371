package ownpod_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

func TestAnnotationsAreSetAndRemoved(t *testing.T) {
	s := begin(t)
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

func TestReplacedPodIsNotAnnotated(t *testing.T) {
	s := begin(t)
	if err := cluster.RemovePod(t.Context(), s.namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	writer := s.outliving(t)
	if err := writer.Withdraw(t.Context()); err != nil {
		t.Errorf("withdrawing from a pod that is gone: %v", err)
	}
	newPod(t, s.namespace, "game-0")
	if err := writer.Announce(t.Context(), claim); err == nil {
		t.Error("wrote on another pod of the same name")
	}
	if err := writer.Withdraw(t.Context()); err != nil {
		t.Errorf("withdrawing from a pod whose name another has: %v", err)
	}
	if found := s.annotations(t); len(found) != 1 {
		t.Errorf("annotations are %v", found)
	}
}

func TestEventsAreRecordedOnThePod(t *testing.T) {
	s := begin(t)
	if err := s.writer.Record(t.Context(), pod.Warning, "ClaimNotGranted", strings.Repeat("ä", 1000)); err != nil {
		t.Fatal(err)
	}
	events, err := s.admin.CoreV1().Events(s.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(s.pod.UID)})
	if err != nil || len(events.Items) != 1 {
		t.Fatalf("events are %v, %v", events, err)
	}
	e := events.Items[0]
	if e.Type != "Warning" || e.Reason != "ClaimNotGranted" || e.Source.Component != "portlease-agent" || e.ReportingController != "portlease-agent" || e.ReportingInstance != e.InvolvedObject.Name || len(e.Message) > 1024 || e.LastTimestamp.IsZero() {
		t.Errorf("event is %+v", e)
	}
}

func TestRepeatedEventIsCounted(t *testing.T) {
	s := begin(t)
	events := s.admin.CoreV1().Events(s.namespace)
	recorded := func(want ...string) []corev1.Event {
		t.Helper()
		list, err := events.List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(s.pod.UID)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list.Items {
			got = append(got, fmt.Sprintf("%s %d %s", e.Reason, e.Count, e.Message))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("events are %q, want %q", got, want)
		}
		return list.Items
	}
	record := func(reason, message string) {
		t.Helper()
		if err := s.writer.Record(t.Context(), pod.Warning, reason, message); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		record("PoolExhausted", fmt.Sprintf("place %d", n))
		record("GameStopped", "nobody listens")
	}
	for _, e := range recorded("GameStopped 3 nobody listens", "PoolExhausted 3 place 2") {
		// The API server removes events after an hour.
		if err := events.Delete(t.Context(), e.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	record("PoolExhausted", "place 3")
	record("PoolExhausted", "place 4")
	recorded("PoolExhausted 2 place 4")
}

// Another pod's troubles are not to be made up, nor hidden.
func TestAgentWritesNoEventsAboutOtherPods(t *testing.T) {
	s := begin(t)
	other := newPod(t, s.namespace, "game-1")
	client, err := kubernetes.NewForConfig(cluster.TokenConfig(s.token))
	if err != nil {
		t.Fatal(err)
	}
	about := func(kind, name string, uid types.UID) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{GenerateName: "x.", Namespace: s.namespace},
			InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: s.namespace, Name: name, UID: uid}, Reason: "X", Message: "x",
		}
	}
	theirs, err := s.admin.CoreV1().Events(s.namespace).Create(t.Context(), about("Pod", "game-1", other.UID), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events := client.CoreV1().Events(s.namespace)
	s.eventually(t, "the policy to hold", func() error {
		if _, err := events.Create(t.Context(), about("Pod", "game-1", other.UID), metav1.CreateOptions{}); !denied(err) {
			return fmt.Errorf("an event about another pod: %w", err)
		}
		return nil
	})
	for _, patch := range []string{`{"message":"all is well"}`, `{"involvedObject":{"uid":"` + string(s.pod.UID) + `"}}`} {
		if _, err := events.Patch(t.Context(), theirs.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); !denied(err) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	own, err := events.Create(t.Context(), about("Pod", "game-0", s.pod.UID), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	away := `{"involvedObject":{"uid":"` + string(other.UID) + `"}}`
	if _, err := events.Patch(t.Context(), own.Name, types.MergePatchType, []byte(away), metav1.PatchOptions{}); !denied(err) {
		t.Errorf("moved to the other pod: %v", err)
	}
	if _, err := events.Create(t.Context(), about("GameServer", "game-0", "their-uid"), metav1.CreateOptions{}); err != nil {
		t.Errorf("an event of Agones' sidecar: %v", err)
	}
}

func TestForbiddenErrorNamesTheRemedy(t *testing.T) {
	s := beginWith(t, nothing)
	err := s.writer.Announce(t.Context(), claim)
	if err == nil || !strings.Contains(err.Error(), "a role in "+s.namespace) {
		t.Errorf("got %v", err)
	}
}
