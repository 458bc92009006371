package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

// TestHonestPodIsServedWhenConnectionsRunOut: callers from many addresses hold more
// connections than there may be, and open new ones as soon as the allocator closes any.
func TestHonestPodIsServedWhenConnectionsRunOut(t *testing.T) {
	const most, addresses, each = 50, 20, 10
	w := newWorld(t, fmt.Sprintf("-max-connections=%d", most))
	honest := w.pod("honest", "10.0.0.10")
	var attack, connected sync.WaitGroup
	stop := make(chan struct{})
	defer attack.Wait()
	defer close(stop)
	for n := range addresses {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 10, 0, byte(1+n))}}
		for range each {
			connected.Add(1)
			attack.Go(func() {
				w.keepConnected(&dialer, sync.OnceFunc(connected.Done), stop)
			})
		}
	}
	connected.Wait()
	for n := range 20 {
		client := w.from(fmt.Sprintf("127.10.1.%d", 1+n))
		if status, body := w.call(client, http.MethodDelete, api.ClaimPath(w.games, "honest")+"?"+api.QueryClaimUID+"=none", honest); status != http.StatusNoContent {
			t.Fatalf("call %d was answered %d %s", n, status, body)
		}
		_, metrics := w.call(client, http.MethodGet, "/metrics", "")
		for line := range strings.Lines(metrics) {
			var open int
			if _, err := fmt.Sscanf(line, "portlease_http_connections %d", &open); err == nil && open > most {
				t.Fatalf("%d connections are open, of at most %d", open, most)
			}
		}
		if !strings.Contains(metrics, "portlease_http_connections ") || !strings.Contains(metrics, `portlease_http_connections_closed_total{limit="total"}`) {
			t.Fatalf("the metrics do not count connections:\n%s", metrics)
		}
	}
}

// TestConnectionsAreClosedAfterACallWhileThereAreMany: each costs memory until the next renewal.
func TestConnectionsAreClosedAfterACallWhileThereAreMany(t *testing.T) {
	const most = 20
	w := newWorld(t, fmt.Sprintf("-max-connections=%d", most))
	closes := func(client *http.Client) bool {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+w.port+"/livez", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response.Close
	}
	const others = 3 // at most, of this test's world
	for n := 1; n <= most/2; n++ {
		if closes(w.from(fmt.Sprintf("127.10.2.%d", n))) && n <= most/2-others {
			t.Fatalf("with %d connections open one is closed after its call", n)
		}
	}
	many := w.from("127.10.3.1")
	for range 3 {
		if !closes(many) {
			t.Errorf("with more than %d connections open one stays open after its call", most/2)
		}
	}
}

// keepConnected holds a connection that sends nothing, and another whenever the
// allocator closes it. It calls opened once it had one.
func (w *world) keepConnected(dialer *net.Dialer, opened func(), stop <-chan struct{}) {
	defer opened()
	for w.Context().Err() == nil {
		conn, err := dialer.DialContext(w.Context(), "tcp4", "127.0.0.1:"+w.port)
		if err != nil {
			continue
		}
		opened()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = conn.Read(make([]byte, 1)) // until the allocator closes it
		}()
		stopped := false
		select {
		case <-ended:
		case <-stop:
			stopped = true
		}
		if err := conn.Close(); err != nil {
			w.Error(err)
		}
		<-ended
		if stopped {
			return
		}
	}
}
