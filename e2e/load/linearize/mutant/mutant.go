// Package mutant breaks the allocator's protocol between the allocator and the API
// server, as doors of a rig. The allocator itself is unchanged. A check that does not
// find these bugs would prove nothing by finding none.
package mutant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// labelKind distinguishes the ledger's Leases from the one of the leader election.
const labelKind = "portlease.dev/kind"

// roundTrip is a http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// leasePath splits the path of a request for Leases into that of the collection
// and the name; ok is false for anything else.
func leasePath(path string) (collection, name string, ok bool) {
	const leases = "/leases"
	at := strings.Index(path, leases)
	if at < 0 || !strings.HasPrefix(path, "/apis/coordination.k8s.io/") {
		return "", "", false
	}
	return path[:at+len(leases)], strings.TrimPrefix(path[at+len(leases):], "/"), true
}

// asJSON requests a plain JSON answer, whatever the client prefers.
func asJSON(r *http.Request) {
	r.Header.Set("Accept", "application/json")
	r.Header.Del("Accept-Encoding")
}

// takeLease reads the Lease of a request's body, in any encoding.
func takeLease(r *http.Request) (*coordinationv1.Lease, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("reading a request: %w", err)
	}
	if err := r.Body.Close(); err != nil {
		return nil, fmt.Errorf("closing a request: %w", err)
	}
	lease := &coordinationv1.Lease{}
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, lease); err != nil {
		return nil, fmt.Errorf("reading a lease: %w", err)
	}
	return lease, nil
}

// withLease returns the request with a Lease as its body, in JSON.
func withLease(r *http.Request, lease *coordinationv1.Lease) (*http.Request, error) {
	lease.APIVersion, lease.Kind = "coordination.k8s.io/v1", "Lease"
	text, err := json.Marshal(lease)
	if err != nil {
		return nil, fmt.Errorf("writing a lease: %w", err)
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(text))
	out.ContentLength = int64(len(text))
	out.Header.Set("Content-Type", "application/json")
	out.Header.Del("Content-Length")
	return out, nil
}

// rewritten returns an answer with its JSON body changed.
func rewritten(answer *http.Response, change func([]byte) ([]byte, error)) (*http.Response, error) {
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	if err := answer.Body.Close(); err != nil {
		return nil, fmt.Errorf("closing an answer: %w", err)
	}
	if text, err = change(text); err != nil {
		return nil, err
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return answer, nil
}
