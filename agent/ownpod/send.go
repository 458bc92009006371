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

// maxAnswer is how many bytes of an answer are read: more than any pod has.
const maxAnswer = 3 << 20

// statusError is an answer of the API server other than success.
type statusError struct {
	code int
	text string
	// fields are the invalid fields that the answer names.
	fields []string
}

func (e *statusError) Error() string { return e.text }

// call is one call of the API server, in the pod's namespace.
type call struct {
	method, contentType string
	path                []string
	body                any
	// answer, if not nil, receives the object in the answer: its metadata alone, unless
	// whole is set.
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
			if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(c.answer); err != nil {
				return fmt.Errorf("reading the answer: %w", err)
			}
		}
		// An unread rest would cost the connection.
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return err
	}
	const shown = 4096
	text, err = io.ReadAll(io.LimitReader(resp.Body, shown))
	if err != nil {
		return fmt.Errorf("reading the answer %s: %w", resp.Status, err)
	}
	return explain(resp, text, w.pod.Namespace)
}

// explain returns the message of a Status object and the remedy.
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
	// A role does not help when an admission policy denied the request.
	if resp.StatusCode == http.StatusForbidden && !strings.Contains(status.Message, "denied request") {
		e.text += fmt.Sprintf("; give the pod's service account a role in %s that may patch pods and pods/status, and create and patch events", namespace)
	}
	return e
}

// gone reports whether the API server answered that the pod does not exist any more,
// or that another pod has its name: a pod's UID never changes.
func gone(err error) bool {
	answered, ok := errors.AsType[*statusError](err)
	return ok && (answered.code == http.StatusNotFound || slices.Contains(answered.fields, "metadata.uid"))
}
