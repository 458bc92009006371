package kubelease_test

import (
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// tap delays what the API server sends to one replica: all events of a watch, or one
// answer. Nothing is lost.
type tap struct {
	next http.RoundTripper

	mu sync.Mutex
	// watch is closed when the watch may go on; nil while it is not delayed.
	watch chan struct{}
	// answer is what the next answer to a matching request waits for.
	answer *heldAnswer
	// expired makes all watches end and be refused, because their version is too old, until
	// all Leases were read again.
	expired bool
	// asked is the query of the last GET that was no watch.
	asked url.Values
}

type heldAnswer struct {
	method  string
	arrived chan struct{} // closed when the API server has answered
	deliver chan struct{} // closed when the answer may be delivered
}

func tapInto(t *testing.T, config *rest.Config) *tap {
	tap := &tap{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		tap.next = next
		return tap
	})
	t.Cleanup(func() { tap.holdWatch()() })
	return tap
}

// holdWatch delays all events until the returned function is called.
func (t *tap) holdWatch() (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.watch
	if held == nil {
		held = make(chan struct{})
		t.watch = held
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		t.watch = nil
		t.mu.Unlock()
		close(held)
	})
}

// holdAnswer delays the answer to the next request with that method.
func (t *tap) holdAnswer(method string) (arrived <-chan struct{}, deliver func()) {
	h := &heldAnswer{method, make(chan struct{}), make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answer = h
	return h.arrived, func() { close(h.deliver) }
}

// breakWatch ends the watch, and begins one that reads all Leases again after meanwhile has
// returned.
func (t *tap) breakWatch(meanwhile func()) {
	t.mu.Lock()
	t.expired = true
	t.mu.Unlock()
	meanwhile() // its events are lost: Read drops them
}

func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	if t.expired && r.URL.Query().Get("watch") != "" {
		if r.URL.Query().Get("sendInitialEvents") == "" {
			t.mu.Unlock()
			return &http.Response{StatusCode: http.StatusGone, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		}
		t.expired = false
	}
	held := t.answer
	watching := r.URL.Query().Get("watch") != ""
	if held != nil && held.method == r.Method && !watching {
		t.answer = nil
	} else {
		held = nil
	}
	if r.Method == http.MethodGet && !watching {
		t.asked = r.URL.Query()
	}
	t.mu.Unlock()
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if held != nil {
		close(held.arrived)
		<-held.deliver
	}
	if watching {
		answer.Body = &events{answer.Body, t}
	}
	return answer, nil
}

// events is the stream of a watch.
type events struct {
	io.ReadCloser
	tap *tap
}

func (e *events) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.tap.mu.Lock()
	held, expired := e.tap.watch, e.tap.expired
	e.tap.mu.Unlock()
	if expired {
		return 0, io.EOF
	}
	if held != nil {
		<-held
	}
	return n, err
}
