package demo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/portlease/portlease/e2e/rig"
)

// ask sends hello to a game and returns the answer, which must name the pod and the
// dialed endpoint. It repeats lost UDP packets.
func ask(ctx context.Context, network, endpoint, pod string) (string, error) {
	answer := ""
	err := rig.Eventually(ctx, fmt.Sprintf("%s to answer at %s over %s", pod, endpoint, network), func() error {
		var err error
		if answer, err = hello(ctx, network, endpoint); err != nil {
			return err
		}
		if want := fmt.Sprintf("%s at %s heard \"hello\"", pod, endpoint); answer != want {
			return fmt.Errorf("the answer was %q, not %q", answer, want)
		}
		return nil
	})
	return answer, err
}

func hello(ctx context.Context, network, endpoint string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, endpoint)
	if err != nil {
		return "", fmt.Errorf("dialing: %w", err)
	}
	defer conn.Close() //nolint:errcheck // it was read
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", fmt.Errorf("setting a deadline: %w", err)
	}
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		return "", fmt.Errorf("saying hello: %w", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("waiting for an answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func split(endpoint string) (host, port string) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return endpoint, ""
	}
	return host, port
}
