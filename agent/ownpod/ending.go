package ownpod

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/portlease/portlease/agent/lifecycle"
)

// Termination reads what the API server answers to a patch that changes nothing,
// because the agent has no right to read pods. A pod that is gone has ended; so
// has one whose name another pod has now.
func (w *Writer) Termination(ctx context.Context) (lifecycle.Termination, error) {
	var pod struct {
		Metadata struct {
			DeletionTimestamp          *time.Time `json:"deletionTimestamp"`
			DeletionGracePeriodSeconds int64      `json:"deletionGracePeriodSeconds"`
		} `json:"metadata"`
	}
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID}}
	err := w.send(ctx, call{
		method: http.MethodPatch, path: []string{"pods", w.pod.Name}, contentType: "application/merge-patch+json", body: patch, answer: &pod,
	})
	if gone(err) {
		return lifecycle.Termination{Deleted: true}, nil
	}
	if err != nil {
		return lifecycle.Termination{}, fmt.Errorf("asking whether the pod is being deleted: %w", err)
	}
	return lifecycle.Termination{
		Deleted: pod.Metadata.DeletionTimestamp != nil,
		Grace:   time.Duration(pod.Metadata.DeletionGracePeriodSeconds) * time.Second,
	}, nil
}
