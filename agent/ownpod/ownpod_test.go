package ownpod_test

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	if e.Type != "Warning" || e.Reason != "ClaimNotGranted" || e.Source.Component != "portlease-agent" || len(e.Message) > 1024 || e.LastTimestamp.IsZero() {
		t.Errorf("event is %+v", e)
	}
}

func TestForbiddenErrorNamesTheRemedy(t *testing.T) {
	s := beginWith(t, nothing)
	err := s.writer.Announce(t.Context(), claim)
	if err == nil || !strings.Contains(err.Error(), "a role in "+s.namespace) {
		t.Errorf("got %v", err)
	}
}
