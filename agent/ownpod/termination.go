package ownpod

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portlease/portlease/agent/pod"
)

// disruptionTarget is the condition of a pod that the kubelet or a controller ends, set
// before the pod is deleted; kubelets that shut down or evict delete no pod
// (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
const disruptionTarget = "DisruptionTarget"

// usualGrace is the most that a pod without a deletion can count on: a kubelet that shuts
// down gives its own grace period, which the pod does not tell.
const usualGrace = 30 * time.Second

// Termination sends a patch that changes nothing and reads its answer, because the
// agent has no right to read pods. A pod that is gone counts as deleted; so does one
// that was replaced under its name.
func (w *Writer) Termination(ctx context.Context) (pod.Termination, error) {
	var object podEnd
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID}}
	err := w.send(ctx, call{
		method: http.MethodPatch, path: []string{"pods", w.pod.Name}, contentType: "application/merge-patch+json", body: patch,
		answer: &object, whole: true,
	})
	if gone(err) {
		return pod.Termination{Begun: true}, nil
	}
	if err != nil {
		return pod.Termination{}, fmt.Errorf("reading whether the pod terminates: %w", err)
	}
	return object.termination(), nil
}

// podEnd is the part of a pod that tells whether it terminates.
type podEnd struct {
	Metadata struct {
		DeletionTimestamp          *time.Time `json:"deletionTimestamp"`
		DeletionGracePeriodSeconds int64      `json:"deletionGracePeriodSeconds"`
	} `json:"metadata"`
	Spec struct {
		TerminationGracePeriodSeconds int64 `json:"terminationGracePeriodSeconds"`
	} `json:"spec"`
	Status struct {
		Phase      string      `json:"phase"`
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

func (p podEnd) termination() pod.Termination {
	if p.Metadata.DeletionTimestamp != nil {
		return pod.Termination{Begun: true, Grace: time.Duration(p.Metadata.DeletionGracePeriodSeconds) * time.Second}
	}
	disrupted := slices.ContainsFunc(p.Status.Conditions, func(c condition) bool { return c.Type == disruptionTarget && c.Status == "True" })
	if disrupted || p.Status.Phase == "Failed" || p.Status.Phase == "Succeeded" {
		return pod.Termination{Begun: true, Grace: min(usualGrace, time.Duration(p.Spec.TerminationGracePeriodSeconds)*time.Second)}
	}
	return pod.Termination{}
}
