package ownpod

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/portlease/portlease/agent/pod"
)

// component is the source of the events.
const component = "portlease-agent"

// maxMessage is the longest event message that the API server accepts
// (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).
const maxMessage = 1024

// Record creates an event of the pod.
func (w *Writer) Record(ctx context.Context, typ pod.EventType, reason, message string) error {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-len("…")], "") + "…"
	}
	at := w.now().UTC().Format(time.RFC3339)
	event := map[string]any{
		"apiVersion": "v1",
		"kind":       "Event",
		"metadata":   map[string]any{"generateName": w.pod.Name + ".", "namespace": w.pod.Namespace},
		"involvedObject": map[string]any{
			"apiVersion": "v1", "kind": "Pod", "namespace": w.pod.Namespace, "name": w.pod.Name, "uid": w.pod.UID,
		},
		"type":               typ,
		"reason":             reason,
		"message":            message,
		"source":             map[string]any{"component": component},
		"reportingComponent": component,
		"firstTimestamp":     at,
		"lastTimestamp":      at,
		"count":              1,
	}
	if err := w.send(ctx, call{method: http.MethodPost, path: []string{"events"}, contentType: "application/json", body: event}); err != nil {
		return fmt.Errorf("recording an event: %w", err)
	}
	return nil
}
