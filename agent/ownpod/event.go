package ownpod

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/agent/pod"
)

// component is the source of the events.
const component = "portlease-agent"

// maxMessage is the longest event message that the API server accepts
// (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).
const maxMessage = 1024

// series are the events that this agent has created, by reason. There are as many reasons
// as there are kinds of failures.
type series struct {
	mu      sync.Mutex // guards reasons; held during a call
	reasons map[string]event
}

// event is an event as created, and how often it was recorded.
type event struct {
	name  string
	count int
}

// Record creates an event of the pod, or counts up the one of that reason and replaces its
// message.
func (w *Writer) Record(ctx context.Context, typ pod.EventType, reason, message string) error {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-len("…")], "") + "…"
	}
	w.events.mu.Lock()
	defer w.events.mu.Unlock()
	if err := w.record(ctx, typ, reason, message); err != nil {
		return fmt.Errorf("recording an event: %w", err)
	}
	return nil
}

func (w *Writer) record(ctx context.Context, typ pod.EventType, reason, message string) error {
	if known, ok := w.events.reasons[reason]; ok {
		err := w.repeat(ctx, known, message)
		if answered, ok := errors.AsType[*statusError](err); err == nil || !ok || answered.code != http.StatusNotFound {
			known.count++
			w.events.reasons[reason] = known
			return err
		}
		// The API server keeps events for an hour.
	}
	created, err := w.create(ctx, typ, reason, message)
	if err != nil {
		return err
	}
	if w.events.reasons == nil {
		w.events.reasons = make(map[string]event)
	}
	w.events.reasons[reason] = created
	return nil
}

func (w *Writer) create(ctx context.Context, typ pod.EventType, reason, message string) (event, error) {
	at := w.now().UTC().Format(time.RFC3339)
	body := map[string]any{
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
		"reportingInstance":  w.pod.Name,
		"firstTimestamp":     at,
		"lastTimestamp":      at,
		"count":              1,
	}
	var answer struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	err := w.send(ctx, call{method: http.MethodPost, path: []string{"events"}, contentType: "application/json", body: body, answer: &answer})
	return event{name: answer.Metadata.Name, count: 1}, err
}

func (w *Writer) repeat(ctx context.Context, known event, message string) error {
	patch := map[string]any{"count": known.count + 1, "lastTimestamp": w.now().UTC().Format(time.RFC3339), "message": message}
	return w.send(ctx, call{
		method: http.MethodPatch, path: []string{"events", known.name}, contentType: "application/merge-patch+json", body: patch,
	})
}
