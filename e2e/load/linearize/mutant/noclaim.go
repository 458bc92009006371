package mutant

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// claimPrefix begins the names of claim leases.
const claimPrefix = "claim-"

// NoClaimLease gives each replica claim leases of its own instead of shared ones. Their
// names get the replica's number on the way in and lose it on the way out; a replica
// does not see those of another.
func NoClaimLease(replica int, next http.RoundTripper) http.RoundTripper {
	return own{suffix: fmt.Sprintf(".r%d", replica)}.door(next)
}

// Nothing breaks nothing: it reads and writes everything that NoClaimLease does, and
// changes no name. So a violation behind it is not caused by the door.
func Nothing(_ int, next http.RoundTripper) http.RoundTripper { return own{}.door(next) }

// own renames the claim leases of one replica.
type own struct{ suffix string }

func (o own) door(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		collection, name, leases := leasePath(r.URL.Path)
		if !leases {
			return next.RoundTrip(r)
		}
		asJSON(r)
		if strings.HasPrefix(name, claimPrefix) {
			r.URL.Path = collection + "/" + name + o.suffix
		}
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			lease, err := takeLease(r)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(lease.Name, claimPrefix) {
				lease.Name += o.suffix
			}
			if r, err = withLease(r, lease); err != nil {
				return nil, err
			}
		}
		answer, err := next.RoundTrip(r)
		switch {
		case err != nil:
			return nil, err
		case r.URL.Query().Get("watch") != "" && answer.StatusCode == http.StatusOK:
			answer.Body = o.watch(answer.Body)
			return answer, nil
		}
		return rewritten(answer, o.object)
	})
}

// rename removes the replica's number from an object's name. It reports whether the
// replica may see the object.
func (o own) rename(object map[string]any) bool {
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if !strings.HasPrefix(name, claimPrefix) {
		return true
	}
	short, mine := strings.CutSuffix(name, o.suffix)
	metadata["name"] = short
	return mine
}

// object renames one Lease or a list of them.
func (o own) object(text []byte) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return text, nil //nolint:nilerr // what is no object has no name
	}
	items, list := object["items"].([]any)
	if !list {
		o.rename(object)
	} else {
		seen := []any{}
		for _, item := range items {
			if lease, ok := item.(map[string]any); ok && o.rename(lease) {
				seen = append(seen, lease)
			}
		}
		object["items"] = seen
	}
	changed, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("writing an answer: %w", err)
	}
	return changed, nil
}

// watch renames the objects in a stream of events, one JSON value each.
func (o own) watch(events io.ReadCloser) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		lines := bufio.NewReader(events)
		for {
			line, err := lines.ReadBytes('\n')
			if err == nil {
				err = o.pass(writer, line)
			}
			if err != nil {
				_ = writer.CloseWithError(err) // it never fails
				return
			}
		}
	}()
	return stream{reader, events}
}

// pass writes an event if the replica may see its object.
func (o own) pass(to io.Writer, line []byte) error {
	var event struct {
		Type   string         `json:"type"`
		Object map[string]any `json:"object"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	if !o.rename(event.Object) {
		return nil
	}
	text, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	_, err = to.Write(append(text, '\n'))
	return err
}

// stream is the reading end of a pipe; closing it also closes the source.
type stream struct {
	*io.PipeReader
	source io.Closer
}

// Close implements io.Closer.
func (s stream) Close() error {
	if err := s.source.Close(); err != nil {
		return fmt.Errorf("closing a stream: %w", err)
	}
	return s.PipeReader.Close()
}
