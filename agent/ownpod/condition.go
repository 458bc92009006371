package ownpod

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portlease/portlease/agent/pod"
)

// ConditionReachable is the type of the pod's condition that says whether players
// reach the pod.
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

// SetReachable sets the pod's condition. The transition time changes only when the
// status does, even if an earlier agent of the pod set it.
func (w *Writer) SetReachable(ctx context.Context, c pod.Condition) error {
	w.condition.Lock()
	defer w.condition.Unlock()
	before, err := w.current(ctx)
	if err != nil {
		return fmt.Errorf("reading the pod's condition: %w", err)
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

// current returns the condition of the pod; zero if it has none.
func (w *Writer) current(ctx context.Context) (condition, error) {
	var object struct {
		Status struct {
			Conditions []condition `json:"conditions"`
		} `json:"status"`
	}
	if err := w.patchStatus(ctx, nil, &object); err != nil {
		return condition{}, err
	}
	at := slices.IndexFunc(object.Status.Conditions, func(c condition) bool { return c.Type == ConditionReachable })
	if at < 0 {
		return condition{}, nil
	}
	return object.Status.Conditions[at], nil
}

// patchStatus merges into the pod's status; nil changes nothing. A non-nil answer
// receives the whole pod.
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
