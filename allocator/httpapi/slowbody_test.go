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
	defer server.Close()
	begin := func(length int) (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		// Without an answer the test fails, and does not hang.
		if err := conn.SetDeadline(time.Now().Add(10 * bodyTime)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: allocator\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n{}", path, tokenOf("game-0"), length); err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
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
	long, longAnswer := begin(2)
	defer long.Close()
	<-begun
	slow, slowAnswer := begin(3)
	defer slow.Close()
	answer, err := http.ReadResponse(slowAnswer, nil)
	if err != nil {
		t.Fatal(err)
	}
	var p api.Problem
	if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || answer.StatusCode != http.StatusServiceUnavailable || p.Code != api.Unavailable || !answer.Close {
		t.Errorf("the slow body was answered %d %+v, %v; the connection closes: %t", answer.StatusCode, p, err, answer.Close)
	}
	if _, err := io.Copy(io.Discard, slowAnswer); err != nil {
		t.Errorf("the connection of the slow body: %v", err)
	}
	if answer, err = http.ReadResponse(longAnswer, nil); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("the long call: %+v, %v", answer, err)
	}
}
