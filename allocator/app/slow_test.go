package app_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// TestHonestPodIsServedBesideSlowBodies: three hostile pods hold as many connections as
// they can, and send a body that never ends on each.
func TestHonestPodIsServedBesideSlowBodies(t *testing.T) {
	w := newWorld(t)
	honest := w.pod("honest", "10.0.0.10")
	var attack sync.WaitGroup
	var connected sync.WaitGroup
	defer attack.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for n := range 3 {
		name := fmt.Sprintf("hostile-%d", n)
		token := w.pod(name, fmt.Sprintf("10.0.0.%d", 20+n))
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 0, byte(1+n))}}
		for range 110 {
			connected.Add(1)
			attack.Go(func() {
				first := sync.OnceFunc(connected.Done)
				defer first()
				for w.Context().Err() == nil {
					w.slowBody(&dialer, api.ClaimPath(w.games, name), token, first, stop)
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
	}
	connected.Wait()
	client := w.from("127.9.0.100")
	for n := range 20 {
		if status, body := w.call(client, http.MethodDelete, api.ClaimPath(w.games, "honest")+"?"+api.QueryClaimUID+"=none", honest); status != http.StatusNoContent {
			t.Fatalf("call %d of the honest pod was answered %d %s", n, status, body)
		}
	}
}

// slowBody begins a PUT and does not end it, until the allocator closes the connection
// or stop is closed. It calls sent after the first part of the body, or if the allocator
// refuses the connection.
func (w *world) slowBody(dialer *net.Dialer, path, token string, sent func(), stop <-chan struct{}) {
	conn, err := dialer.DialContext(w.Context(), "tcp4", "127.0.0.1:"+w.port)
	if err != nil {
		sent()
		return
	}
	defer func() {
		if err := conn.Close(); err != nil {
			w.Error(err)
		}
	}()
	_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: allocator\r\nAuthorization: Bearer %s\r\nContent-Length: 4096\r\n\r\n{", path, token)
	sent()
	if err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			answer.Body.Close()
		}
	}()
	select {
	case <-ended:
	case <-stop:
		if err := conn.SetReadDeadline(time.Now()); err != nil {
			w.Error(err)
		}
		<-ended
	}
}
