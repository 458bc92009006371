package rig

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// TestAnswersOfASlowLinkComeLater: all of them by the same time, as from a slow server that
// serves many calls at once.
func TestAnswersOfASlowLinkComeLater(t *testing.T) {
	const lag, calls = 300 * time.Millisecond, 10
	server, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
						return
					}
				}
			}()
		}
	}()
	r := new(Rig)
	l, err := r.newLink(func() (string, error) { return server.Addr().String(), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	l.Slow(lag)
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	began := time.Now()
	for n := range calls {
		if _, err := fmt.Fprintln(client, n); err != nil {
			t.Fatal(err)
		}
	}
	answers := bufio.NewScanner(client)
	for n := range calls {
		if !answers.Scan() || answers.Text() != fmt.Sprint(n) {
			t.Fatalf("answer %d is %q, %v", n, answers.Text(), answers.Err())
		}
		if took := time.Since(began); n == 0 && took < lag {
			t.Errorf("the first answer came after %v, want at least %v", took, lag)
		}
	}
	l.Slow(0)
	if answers.Scan() {
		t.Error("a connection outlives a change of the lag")
	}
}
