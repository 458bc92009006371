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

func TestConditionTimeChangesOnTransitionOnly(t *testing.T) {
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

func TestUnchangedConditionWritesNothing(t *testing.T) {
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

func TestConditionOfAReplacedPodIsLeftAlone(t *testing.T) {
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
