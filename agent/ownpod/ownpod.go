// Package ownpod writes on the agent's own pod: annotations for matchmakers that
// watch pods, a condition that may be a readiness gate, and events for people.
//
// It needs permission to patch that pod and its status, and to create and patch events, but not
// to read. To read, it sends a patch that changes nothing and reads the answer.
//
// Every patch carries the pod's UID, so that it never changes a later pod of the same
// name. It is plain HTTP over client-go's authentication: a typed client would cost
// every pod ten megabytes of memory more.
package ownpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/client-go/transport"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

// Annotations of a pod that is bound.
const (
	AnnotationEndpoint = "portlease.dev/endpoint" // host:port of the first port
	AnnotationClaim    = "portlease.dev/claim"    // announce.Document as JSON
)

// Writer writes on one pod. It is safe for concurrent use.
type Writer struct {
	client *http.Client
	server *url.URL
	pod    pod.Identity
	now    func() time.Time

	condition sync.Mutex // held while the condition is read and then written
	events    series
}

// API is how to reach the API server.
type API struct {
	// URL is as in https://10.0.0.1:443.
	URL string
	// CAFile has the CA certificates (PEM) of the API server.
	CAFile string
	// TokenFile has the pod's token. It is read again when that may have changed.
	TokenFile string
}

// New makes a writer. It sends nothing yet.
func New(server API, identity pod.Identity, now func() time.Time) (*Writer, error) {
	target, err := url.Parse(server.URL)
	if err != nil {
		return nil, fmt.Errorf("parsing the URL of the API server: %w", err)
	}
	// Only the authentication: client-go's REST client is larger than the agent.
	authenticated, err := transport.New(&transport.Config{
		UserAgent: "portlease-agent", BearerTokenFile: server.TokenFile, TLS: transport.TLSConfig{CAFile: server.CAFile},
	})
	if err != nil {
		return nil, fmt.Errorf("making the Kubernetes client: %w", err)
	}
	return &Writer{client: &http.Client{Transport: authenticated}, server: target, pod: identity, now: now}, nil
}

// Announce sets the annotations.
func (w *Writer) Announce(ctx context.Context, c api.Claim) error {
	d, err := announce.Describe(c)
	if err != nil {
		return fmt.Errorf("annotating the pod: %w", err)
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding the document: %w", err)
	}
	claim := string(text)
	return w.annotate(ctx, map[string]*string{AnnotationEndpoint: &d.Endpoint, AnnotationClaim: &claim})
}

// Withdraw removes the annotations. It succeeds if the pod is gone.
func (w *Writer) Withdraw(ctx context.Context) error {
	err := w.annotate(ctx, map[string]*string{AnnotationEndpoint: nil, AnnotationClaim: nil})
	if gone(err) {
		return nil
	}
	return err
}

// annotate merges annotations; nil removes one.
func (w *Writer) annotate(ctx context.Context, annotations map[string]*string) error {
	patch := map[string]any{"metadata": map[string]any{"uid": w.pod.UID, "annotations": annotations}}
	err := w.send(ctx, call{
		method: http.MethodPatch, path: []string{"pods", w.pod.Name}, contentType: "application/merge-patch+json", body: patch,
	})
	if err != nil {
		return fmt.Errorf("annotating the pod: %w", err)
	}
	return nil
}

// Silent writes nothing.
type Silent struct{}

// Announce does nothing.
func (Silent) Announce(context.Context, api.Claim) error { return nil }

// Withdraw does nothing.
func (Silent) Withdraw(context.Context) error { return nil }

// SetReachable does nothing.
func (Silent) SetReachable(context.Context, pod.Condition) error { return nil }

// Termination fails: it does not know.
func (Silent) Termination(context.Context) (pod.Termination, error) {
	return pod.Termination{}, errors.New("the agent is configured not to access its pod")
}

// Record does nothing.
func (Silent) Record(context.Context, pod.EventType, string, string) error { return nil }
