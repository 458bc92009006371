// Package ownpod writes on the agent's own pod: annotations for matchmakers that
// watch pods, a condition that may be a readiness gate, and events for people.
//
// It needs the rights to patch that pod and its status and to create events, and
// none to read: what it must know is in the answer to a patch that changes
// nothing.
//
// The pod's UID goes with every patch, so that a pod of the same name that came
// after is never written on. It is plain HTTP over client-go's authentication: a
// typed client would cost every pod some ten megabytes of memory more.
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
	"github.com/portlease/portlease/agent/lifecycle"
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
	pod    lifecycle.Pod
	now    func() time.Time

	condition sync.Mutex // held while the condition is read and then written
}

// API is the way to the API server.
type API struct {
	// URL is where it is, as in https://10.0.0.1:443.
	URL string
	// CAFile has the certificates (PEM) to trust it by.
	CAFile string
	// TokenFile has the pod's token, and is read again when that may have changed.
	TokenFile string
}

// New makes a writer that authenticates by the token. It sends nothing yet.
func New(way API, pod lifecycle.Pod, now func() time.Time) (*Writer, error) {
	server, err := url.Parse(way.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the API server: %w", err)
	}
	// Only what authenticates: client-go's own client is more than the agent itself.
	authenticated, err := transport.New(&transport.Config{
		UserAgent: "portlease-agent", BearerTokenFile: way.TokenFile, TLS: transport.TLSConfig{CAFile: way.CAFile},
	})
	if err != nil {
		return nil, fmt.Errorf("making the Kubernetes client: %w", err)
	}
	return &Writer{client: &http.Client{Transport: authenticated}, server: server, pod: pod, now: now}, nil
}

// Announce annotates the pod with the claim.
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

// Withdraw removes the annotations. A pod that is gone has none.
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

// Silent writes nothing on the pod.
type Silent struct{}

// Announce does nothing.
func (Silent) Announce(context.Context, api.Claim) error { return nil }

// Withdraw does nothing.
func (Silent) Withdraw(context.Context) error { return nil }

// Reachable does nothing.
func (Silent) Reachable(context.Context, lifecycle.Condition) error { return nil }

// Termination knows nothing.
func (Silent) Termination(context.Context) (lifecycle.Termination, error) {
	return lifecycle.Termination{}, errors.New("the agent was told to stay away from its pod")
}

// Record does nothing.
func (Silent) Record(context.Context, lifecycle.Kind, string, string) error { return nil }
