// Package ownpod writes on the agent's own pod: annotations for matchmakers that
// watch pods, and events for people.
//
// It needs the rights to patch that pod and to create events, and none to read.
// The pod's UID goes with every patch, so that a pod of the same name that came
// after is never written on. It is plain HTTP over client-go's authentication: a
// typed client would cost every pod some ten megabytes of memory more.
package ownpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/shared/api"
)

// Annotations of a pod that is bound.
const (
	AnnotationEndpoint = "portlease.dev/endpoint" // host:port of the first port
	AnnotationClaim    = "portlease.dev/claim"    // the claim as JSON
)

// ConditionReachable is the type of the pod's condition that says whether players
// get through.
const ConditionReachable = "portlease.dev/Reachable"

// component is what events name as their source.
const component = "portlease-agent"

// longest is how much of an answer is read, in bytes.
const longest = 1 << 20

// maxMessage is the longest message that the API server takes in an event
// (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).
const maxMessage = 1024

// Writer writes on one pod. It is safe for concurrent use.
type Writer struct {
	client *http.Client
	server *url.URL
	pod    lifecycle.Pod
	now    func() time.Time
}

// New makes a writer that authenticates as cfg says. It sends nothing yet.
func New(cfg *rest.Config, pod lifecycle.Pod, now func() time.Time) (*Writer, error) {
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("making the Kubernetes client: %w", err)
	}
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the API server: %w", err)
	}
	return &Writer{client: client, server: server, pod: pod, now: now}, nil
}

// Announce annotates the pod with the claim.
func (w *Writer) Announce(ctx context.Context, c api.Claim) error {
	if len(c.Ports) == 0 {
		return errors.New("annotating the pod: the claim has no ports")
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the claim: %w", err)
	}
	claim := string(text)
	endpoint := net.JoinHostPort(c.LoadBalancer.Host, strconv.Itoa(c.Ports[0].ListenerPort))
	return w.annotate(ctx, map[string]*string{AnnotationEndpoint: &endpoint, AnnotationClaim: &claim})
}

// Withdraw removes the annotations. A pod that is gone has none.
func (w *Writer) Withdraw(ctx context.Context) error {
	err := w.annotate(ctx, map[string]*string{AnnotationEndpoint: nil, AnnotationClaim: nil})
	if answered, ok := errors.AsType[*statusError](err); ok && answered.code == http.StatusNotFound {
		return nil
	}
	return err
}

// annotate merges annotations; nil removes one.
func (w *Writer) annotate(ctx context.Context, annotations map[string]*string) error {
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID, "annotations": annotations}}
	err := w.send(ctx, http.MethodPatch, "application/merge-patch+json", patch, nil, "pods", w.pod.Name)
	if err != nil {
		return fmt.Errorf("annotating the pod: %w", err)
	}
	return nil
}

// Reachable sets the pod's condition. Nobody else writes it, so every call is a
// transition or repeats one.
func (w *Writer) Reachable(ctx context.Context, c lifecycle.Condition) error {
	status := "False"
	if c.Reachable {
		status = "True"
	}
	patch := map[string]any{
		"metadata": map[string]any{"uid": w.pod.UID},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": ConditionReachable, "status": status, "reason": c.Reason, "message": c.Message,
			"lastTransitionTime": w.now().UTC().Format(time.RFC3339),
		}}},
	}
	// Conditions are merged by their type.
	err := w.send(ctx, http.MethodPatch, "application/strategic-merge-patch+json", patch, nil, "pods", w.pod.Name, "status")
	if err != nil {
		return fmt.Errorf("setting the pod's condition: %w", err)
	}
	return nil
}

// Ending reads what the API server answers to a patch that changes nothing,
// because the agent has no right to read pods. A pod that is gone has ended.
func (w *Writer) Ending(ctx context.Context) (lifecycle.Ending, error) {
	var pod struct {
		Metadata struct {
			DeletionTimestamp          *time.Time `json:"deletionTimestamp"`
			DeletionGracePeriodSeconds int64      `json:"deletionGracePeriodSeconds"`
		} `json:"metadata"`
	}
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID}}
	err := w.send(ctx, http.MethodPatch, "application/merge-patch+json", patch, &pod, "pods", w.pod.Name)
	if answered, ok := errors.AsType[*statusError](err); ok && (answered.code == http.StatusNotFound || answered.code == http.StatusConflict) {
		return lifecycle.Ending{Deleted: true}, nil
	}
	if err != nil {
		return lifecycle.Ending{}, fmt.Errorf("asking whether the pod is being deleted: %w", err)
	}
	return lifecycle.Ending{
		Deleted: pod.Metadata.DeletionTimestamp != nil,
		Grace:   time.Duration(pod.Metadata.DeletionGracePeriodSeconds) * time.Second,
	}, nil
}

// Record creates an event of the pod.
func (w *Writer) Record(ctx context.Context, kind lifecycle.Kind, reason, message string) error {
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
		"type":               kind,
		"reason":             reason,
		"message":            message,
		"source":             map[string]any{"component": component},
		"reportingComponent": component,
		"firstTimestamp":     at,
		"lastTimestamp":      at,
		"count":              1,
	}
	if err := w.send(ctx, http.MethodPost, "application/json", event, nil, "events"); err != nil {
		return fmt.Errorf("recording an event: %w", err)
	}
	return nil
}

// statusError is an answer of the API server that is no success.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// send carries one call; answer, if not nil, takes the metadata of the object that
// the API server answers with.
func (w *Writer) send(ctx context.Context, method, contentType string, body, answer any, path ...string) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	target := w.server.JoinPath(append([]string{"api/v1/namespaces", w.pod.Namespace}, path...)...)
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if answer != nil {
			if err := json.NewDecoder(io.LimitReader(resp.Body, longest)).Decode(answer); err != nil {
				return fmt.Errorf("reading the answer: %w", err)
			}
		}
		// What is left unread costs the connection, not the call.
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, longest))
		return err
	}
	const shown = 4096
	text, err = io.ReadAll(io.LimitReader(resp.Body, shown))
	if err != nil {
		return fmt.Errorf("reading the answer %s: %w", resp.Status, err)
	}
	return &statusError{code: resp.StatusCode, text: explain(resp, text, w.pod.Namespace)}
}

// explain takes the message out of a Status object and names the remedy.
func explain(resp *http.Response, answer []byte, namespace string) string {
	var status struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &status); err != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(answer))
	}
	text := resp.Status + ": " + status.Message
	if resp.StatusCode == http.StatusForbidden {
		text += fmt.Sprintf("; the pod's service account needs a role in %s to patch pods and create events", namespace)
	}
	return text
}

// Silent writes nothing on the pod.
type Silent struct{}

// Announce does nothing.
func (Silent) Announce(context.Context, api.Claim) error { return nil }

// Withdraw does nothing.
func (Silent) Withdraw(context.Context) error { return nil }

// Reachable does nothing.
func (Silent) Reachable(context.Context, lifecycle.Condition) error { return nil }

// Ending knows nothing.
func (Silent) Ending(context.Context) (lifecycle.Ending, error) {
	return lifecycle.Ending{}, errors.New("the agent was told to stay away from its pod")
}

// Record does nothing.
func (Silent) Record(context.Context, lifecycle.Kind, string, string) error { return nil }
