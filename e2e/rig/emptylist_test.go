package rig_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// TestEmptyListDeletesNothing starts an allocator on an API server that lists no
// Leases and reports no changes, although a GET finds each Lease. Audits go on,
// nothing of a live pod is deleted, and each pod keeps its ports. Renewals are rare
// here, because a renewal makes the allocator read what the list omitted.
func TestEmptyListDeletesNothing(t *testing.T) {
	var lies atomic.Bool
	r := start(t, rig.Config{ClaimDuration: 15 * time.Second, RenewEvery: 5 * time.Second, AuditEvery: 200 * time.Millisecond, KubeDoor: func(_ int, next http.RoundTripper) http.RoundTripper { return omitting{next, &lies} }})
	ctx := t.Context()
	var pods []*rig.Pod
	var before []rig.Binding
	for n := range 3 {
		p := newPod(t, r, fmt.Sprintf("game-%d", n), "game=7777/UDP,chat=8080/TCP")
		must(t, p.WaitBound(ctx))
		b, err := r.BindingOf(ctx, p)
		must(t, err)
		pods, before = append(pods, p), append(before, b)
	}
	port, err := pods[0].PortOf(ctx)
	must(t, err)
	asked := asksForTags(r, port.Value.TargetGroupARN)
	must(t, r.Replicas[0].Stop(ctx))
	lies.Store(true)
	must(t, r.Replicas[0].Start(ctx), r.Replicas[0].WaitReady(ctx))
	audits := func() int { return r.Emulator.CallCounts()["DescribeTargetGroups"].Total }
	begun := audits()
	must(t, rig.Eventually(ctx, "six audits", func() error {
		check(t, r)
		if n := audits() - begun; n < 6 {
			return fmt.Errorf("there were %d", n)
		}
		return nil
	}))
	if !asked() {
		t.Error("the janitor never asked for the tags of a live pod's target group: it ignored the list, or the list was not empty")
	}
	for n, p := range pods {
		if after, err := r.BindingOf(ctx, p); err != nil || !reflect.DeepEqual(after, before[n]) {
			t.Errorf("pod %s had %q and has %q, %v", p.Name, before[n], after, err)
		}
	}
	lies.Store(false)
	must(t, r.Replicas[0].Stop(ctx), r.Replicas[0].Revive(ctx))
}

// asksForTags returns a function that reports whether an allocator has requested the
// tags of an ARN since.
func asksForTags(r *rig.Rig, arn string) (asked func() bool) {
	var mu sync.Mutex
	seen := false
	r.Replicas[0].Fault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeTags" {
			for _, values := range c.Params {
				mu.Lock()
				seen = seen || values[0] == arn
				mu.Unlock()
			}
		}
		return elbemu.Fault{}
	})
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

// omitting removes all Leases from lists, and all changes from watches, while lies is
// set.
type omitting struct {
	next http.RoundTripper
	lies *atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (o omitting) RoundTrip(r *http.Request) (*http.Response, error) {
	collection := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/leases")
	if !collection || !o.lies.Load() {
		return o.next.RoundTrip(r)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Del("Accept-Encoding")
	answer, err := o.next.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	if r.URL.Query().Get("watch") != "" {
		answer.Body = bookmarks(answer.Body)
		return answer, nil
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var list map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	list["items"] = []any{}
	if text, err = json.Marshal(list); err != nil {
		return nil, err
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Del("Content-Length")
	return answer, nil
}

// bookmarks passes on only the bookmark events of a watch.
func bookmarks(events io.ReadCloser) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		in, out := json.NewDecoder(events), json.NewEncoder(writer)
		for {
			var event struct {
				Type   string          `json:"type"`
				Object json.RawMessage `json:"object"`
			}
			err := in.Decode(&event)
			if err == nil && event.Type == "BOOKMARK" {
				err = out.Encode(event)
			}
			if err != nil {
				_ = writer.CloseWithError(err) // CloseWithError never fails
				return
			}
		}
	}()
	return stream{reader, events}
}

// stream is the reading end of a pipe. Closing it also closes the source.
type stream struct {
	*io.PipeReader
	source io.Closer
}

// Close implements io.Closer.
func (s stream) Close() error {
	if err := s.source.Close(); err != nil {
		return err
	}
	return s.PipeReader.Close()
}
