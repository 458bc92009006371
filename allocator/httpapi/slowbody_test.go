package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// TestBodyHasADeadlineAndTheCallHasNot: a body that does not come is answered without
// it, and the connection is closed. A call that takes longer than a body may take is not
// cut off.
func TestBodyHasADeadlineAndTheCallHasNot(t *testing.T) {
	const bodyTime = 3 * time.Second
	w := newWorld()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close) // after the connections
	begin := func(length int) *bufio.Reader {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
		// Without an answer the test fails, and does not hang.
		if err := conn.SetDeadline(time.Now().Add(10 * bodyTime)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: allocator\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n{}", path, tokenOf("game-0"), length); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(conn)
	}
	begun := make(chan struct{})
	w.do = func(ctx context.Context) error {
		close(begun)
		timer := time.NewTimer(bodyTime + bodyTime/2)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}
	long := begin(2)
	<-begun
	slow := begin(3)
	answer, err := http.ReadResponse(slow, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var p api.Problem
	if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || answer.StatusCode != http.StatusServiceUnavailable || p.Code != api.Unavailable || !answer.Close {
		t.Errorf("the slow body was answered %d %+v, %v; the connection closes: %t", answer.StatusCode, p, err, answer.Close)
	}
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("the connection of the slow body: %v", err)
	}
	longAnswer, err := http.ReadResponse(long, nil)
	if err != nil {
		t.Fatalf("the long call: %v", err)
	}
	defer longAnswer.Body.Close()
	if longAnswer.StatusCode != http.StatusOK {
		t.Errorf("the long call: %+v", longAnswer)
	}
}
