package ownpod

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/portlease/portlease/agent/pod"
)

// Termination sends a patch that changes nothing and reads its answer, because the
// agent has no right to read pods. A pod that is gone counts as deleted; so does one
// that was replaced under its name.
func (w *Writer) Termination(ctx context.Context) (pod.Termination, error) {
	var object struct {
		Metadata struct {
			DeletionTimestamp          *time.Time `json:"deletionTimestamp"`
			DeletionGracePeriodSeconds int64      `json:"deletionGracePeriodSeconds"`
		} `json:"metadata"`
	}
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID}}
	err := w.send(ctx, call{
		method: http.MethodPatch, path: []string{"pods", w.pod.Name}, contentType: "application/merge-patch+json", body: patch, answer: &object,
	})
	if gone(err) {
		return pod.Termination{Deleted: true}, nil
	}
	if err != nil {
		return pod.Termination{}, fmt.Errorf("reading whether the pod is being deleted: %w", err)
	}
	return pod.Termination{
		Deleted: object.Metadata.DeletionTimestamp != nil,
		Grace:   time.Duration(object.Metadata.DeletionGracePeriodSeconds) * time.Second,
	}, nil
}
