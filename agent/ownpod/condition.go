package ownpod

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portlease/portlease/agent/lifecycle"
)

// ConditionReachable is the type of the pod's condition that says whether players
// get through.
const ConditionReachable = "portlease.dev/Reachable"

// condition is one condition of a pod.
type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// LastTransitionTime stays as it is where a patch leaves it out.
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
}

// Reachable sets the pod's condition. Its time changes only when its status does,
// also when an agent before this one has set it.
func (w *Writer) Reachable(ctx context.Context, c lifecycle.Condition) error {
	w.condition.Lock()
	defer w.condition.Unlock()
	before, err := w.present(ctx)
	if err != nil {
		return fmt.Errorf("looking at the pod's condition: %w", err)
	}
	next := condition{Type: ConditionReachable, Status: "False", Reason: c.Reason, Message: c.Message}
	if c.Reachable {
		next.Status = "True"
	}
	if next.Status != before.Status {
		next.LastTransitionTime = w.now().UTC().Format(time.RFC3339)
	}
	// Conditions are merged by their type.
	if err := w.patchStatus(ctx, map[string]any{"conditions": []condition{next}}, nil); err != nil {
		return fmt.Errorf("setting the pod's condition: %w", err)
	}
	return nil
}

// present is the condition as the pod has it; zero if it has none.
func (w *Writer) present(ctx context.Context) (condition, error) {
	var pod struct {
		Status struct {
			Conditions []condition `json:"conditions"`
		} `json:"status"`
	}
	if err := w.patchStatus(ctx, nil, &pod); err != nil {
		return condition{}, err
	}
	at := slices.IndexFunc(pod.Status.Conditions, func(c condition) bool { return c.Type == ConditionReachable })
	if at < 0 {
		return condition{}, nil
	}
	return pod.Status.Conditions[at], nil
}

// patchStatus merges into the pod's status; nil changes nothing. answer, if not
// nil, takes the whole pod.
func (w *Writer) patchStatus(ctx context.Context, status, answer any) error {
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID}}
	if status != nil {
		patch["status"] = status
	}
	return w.send(ctx, call{
		method: http.MethodPatch, path: []string{"pods", w.pod.Name, "status"},
		contentType: "application/strategic-merge-patch+json", body: patch, whole: answer != nil, answer: answer,
	})
}
