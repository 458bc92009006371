package ownpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// longest is how much of an answer is read, in bytes: more than any pod has.
const longest = 3 << 20

// statusError is an answer of the API server that is no success.
type statusError struct {
	code int
	text string
	// fields are those of the object that cannot be as the call would have them.
	fields []string
}

func (e *statusError) Error() string { return e.text }

// call is one call of the API server, in the pod's namespace.
type call struct {
	method, contentType string
	path                []string
	body                any
	// answer, if not nil, takes the object that the API server answers with: its
	// metadata alone, unless whole is set.
	answer any
	whole  bool
}

func (w *Writer) send(ctx context.Context, c call) error {
	text, err := json.Marshal(c.body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	target := w.server.JoinPath(append([]string{"api/v1/namespaces", w.pod.Namespace}, c.path...)...)
	req, err := http.NewRequestWithContext(ctx, c.method, target.String(), bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", c.contentType)
	req.Header.Set("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	if c.whole {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if c.answer != nil {
			if err := json.NewDecoder(io.LimitReader(resp.Body, longest)).Decode(c.answer); err != nil {
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
	return explain(resp, text, w.pod.Namespace)
}

// explain takes the message out of a Status object and names the remedy.
func explain(resp *http.Response, answer []byte, namespace string) *statusError {
	var status struct {
		Message string `json:"message"`
		Details struct {
			Causes []struct {
				Field string `json:"field"`
			} `json:"causes"`
		} `json:"details"`
	}
	if err := json.Unmarshal(answer, &status); err != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(answer))
	}
	e := &statusError{code: resp.StatusCode, text: resp.Status + ": " + status.Message}
	for _, cause := range status.Details.Causes {
		e.fields = append(e.fields, cause.Field)
	}
	// A role is no remedy where an admission policy has denied.
	if resp.StatusCode == http.StatusForbidden && !strings.Contains(status.Message, "denied request") {
		e.text += fmt.Sprintf("; the pod's service account needs a role in %s to patch pods and pods/status and create events", namespace)
	}
	return e
}

// gone tells whether the API server answered that the pod is not there any more,
// or that another one of its name is: no pod's UID can change.
func gone(err error) bool {
	answered, ok := errors.AsType[*statusError](err)
	return ok && (answered.code == http.StatusNotFound || slices.Contains(answered.fields, "metadata.uid"))
}
