package ownpod_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/agent/pod"
)

// theCondition is the agent's, which must be there once, beside all of the
// kubelet's.
func (s story) theCondition(t *testing.T) corev1.PodCondition {
	t.Helper()
	var own []corev1.PodCondition
	var others []corev1.PodConditionType
	for _, c := range getPod(t, s.namespace, "game-0").Status.Conditions {
		if c.Type == ownpod.ConditionReachable {
			own = append(own, c)
		} else {
			others = append(others, c.Type)
		}
	}
	slices.Sort(others)
	want := []corev1.PodConditionType{corev1.ContainersReady, corev1.PodInitialized, corev1.PodScheduled, corev1.PodReady}
	slices.Sort(want)
	if len(own) != 1 || !slices.Equal(others, want) {
		t.Fatalf("the pod has the condition %d times, beside %v", len(own), others)
	}
	return own[0]
}

func TestTheConditionChangesItsTimeOnATransitionOnly(t *testing.T) {
	s := begin(t)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	for i, step := range []struct {
		says pod.Condition
		// restarted is an agent that has set nothing yet.
		restarted bool
		kubelet   bool // writes its own conditions anew first
		status    corev1.ConditionStatus
		at        time.Time
	}{
		{says: pod.Condition{Reason: "Binding", Message: "wait"}, status: corev1.ConditionFalse, at: start},
		{says: pod.Condition{Reason: "Binding", Message: "wait"}, status: corev1.ConditionFalse, at: start},
		{says: pod.Condition{Reason: "Registering", Message: "soon"}, status: corev1.ConditionFalse, at: start},
		{says: pod.Condition{Reachable: true, Reason: "Healthy"}, status: corev1.ConditionTrue, at: start.Add(3 * time.Minute)},
		{says: pod.Condition{Reachable: true, Reason: "Healthy"}, kubelet: true, status: corev1.ConditionTrue, at: start.Add(3 * time.Minute)},
		{says: pod.Condition{Reachable: true, Reason: "Healthy", Message: "again"}, restarted: true, status: corev1.ConditionTrue, at: start.Add(3 * time.Minute)},
		{says: pod.Condition{Reason: "Draining"}, restarted: true, status: corev1.ConditionFalse, at: start.Add(6 * time.Minute)},
	} {
		if i == 0 || step.restarted {
			s.writer = s.writerAs(t, cluster.TokenConfig(s.token), func() time.Time { return now })
		}
		if step.kubelet {
			if err := cluster.RunPod(t.Context(), s.namespace, "game-0", "10.1.2.3"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.writer.SetReachable(t.Context(), step.says); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		c := s.theCondition(t)
		if c.Status != step.status || c.Reason != step.says.Reason || c.Message != step.says.Message || !c.LastTransitionTime.Time.Equal(step.at) {
			t.Errorf("step %d: the condition is %+v, want %s since %v", i, c, step.status, step.at)
		}
		now = now.Add(time.Minute)
	}
}

func TestRepeatingTheConditionWritesNothing(t *testing.T) {
	s := begin(t)
	says := pod.Condition{Reachable: true, Reason: "Healthy", Message: "players get through"}
	var versions []string
	for range 2 {
		if err := s.writer.SetReachable(t.Context(), says); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, getPod(t, s.namespace, "game-0").ResourceVersion)
	}
	if versions[0] != versions[1] {
		t.Errorf("the pod went from version %s to %s", versions[0], versions[1])
	}
}

func TestTheConditionOfAnotherPodOfTheNameIsLeftAlone(t *testing.T) {
	s := begin(t)
	if err := cluster.RemovePod(t.Context(), s.namespace, "game-0"); err != nil {
		t.Fatal(err)
	}
	writer := s.outliving(t)
	if err := writer.SetReachable(t.Context(), pod.Condition{Reachable: true}); err == nil {
		t.Error("set the condition of a pod that is gone")
	}
	again := newPod(t, s.namespace, "game-0")
	if err := writer.SetReachable(t.Context(), pod.Condition{Reachable: true}); err == nil {
		t.Error("set the condition of another pod of the name")
	}
	if now := getPod(t, s.namespace, "game-0"); now.ResourceVersion != again.ResourceVersion {
		t.Errorf("the other pod is %+v", now.Status.Conditions)
	}
}

func TestEndingIsKnownWithoutReading(t *testing.T) {
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
	want := pod.Termination{Deleted: true, Grace: 45 * time.Second}
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
	if got, err := writer.Termination(t.Context()); err != nil || got != (pod.Termination{Deleted: true}) {
		t.Errorf("of a pod that is gone: %+v, %v", got, err)
	}
	newPod(t, s.namespace, "game-0")
	if got, err := writer.Termination(t.Context()); err != nil || got != (pod.Termination{Deleted: true}) {
		t.Errorf("of a pod whose name another has: %+v, %v", got, err)
	}
}

func TestNoAnswerIsNoEnding(t *testing.T) {
	s := beginWith(t, nothing)
	if got, err := s.writer.Termination(t.Context()); err == nil || got != (pod.Termination{}) {
		t.Errorf("without the right to patch: %+v, %v", got, err)
	}
}
