package ownpod_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/agent/pod"
)

func TestTerminationIsKnownWithoutPermissionToRead(t *testing.T) {
	s := begin(t)
	before := getPod(t, s.namespace, "game-0").ResourceVersion
	if got, err := s.writer.Termination(t.Context()); err != nil || got != (pod.Termination{}) {
		t.Errorf("of a pod that lives: %+v, %v", got, err)
	}
	if after := getPod(t, s.namespace, "game-0").ResourceVersion; after != before {
		t.Errorf("asking changed the pod from version %s to %s", before, after)
	}
	if err := cluster.TerminatePod(t.Context(), s.namespace, "game-0", 45*time.Second); err != nil {
		t.Fatal(err)
	}
	want := pod.Termination{Begun: true, Grace: 45 * time.Second}
	if got, err := s.writer.Termination(t.Context()); err != nil || got != want {
		t.Errorf("of a pod that is being deleted: %+v, %v", got, err)
	}
	// It says so until the end, and goes on saying whether players get through.
	if err := s.writer.SetReachable(t.Context(), pod.Condition{Reason: "Draining"}); err != nil || s.theCondition(t).Reason != "Draining" {
		t.Errorf("the condition of a pod that is being deleted is %+v, %v", s.theCondition(t), err)
	}
	writer := s.outliving(t)
	if err := cluster.RemovePod(t.Context(), s.namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	if got, err := writer.Termination(t.Context()); err != nil || got != (pod.Termination{Begun: true}) {
		t.Errorf("of a pod that is gone: %+v, %v", got, err)
	}
	newPod(t, s.namespace, "game-0")
	if got, err := writer.Termination(t.Context()); err != nil || got != (pod.Termination{Begun: true}) {
		t.Errorf("of a pod whose name another has: %+v, %v", got, err)
	}
}

// Neither a kubelet that shuts down nor one that evicts deletes the pod.
func TestTerminationWithoutDeletionIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		begun  bool
	}{
		"lives":           {`{"phase":"Running"}`, false},
		"its node ends":   {`{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"TerminationByKubelet"}]}`, true},
		"was not evicted": {`{"conditions":[{"type":"DisruptionTarget","status":"False","reason":"EvictionByEvictionAPI"}]}`, false},
		"was evicted":     {`{"phase":"Failed","reason":"Evicted"}`, true},
		"has completed":   {`{"phase":"Succeeded"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			if _, err := s.adminPods(t).Patch(t.Context(), "game-0", strategic, []byte(`{"status":`+c.status+`}`), metav1.PatchOptions{}, "status"); err != nil {
				t.Fatal(err)
			}
			want := pod.Termination{Begun: c.begun}
			if c.begun {
				want.Grace = 30 * time.Second // Kubernetes' default
			}
			if got, err := s.writer.Termination(t.Context()); err != nil || got != want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestTerminationWithoutAnswerIsAnError(t *testing.T) {
	s := beginWith(t, nothing)
	if got, err := s.writer.Termination(t.Context()); err == nil || got != (pod.Termination{}) {
		t.Errorf("without the right to patch: %+v, %v", got, err)
	}
}
