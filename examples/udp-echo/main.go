// The udp-echo game server answers every packet with its pod's name and its
// public endpoint, which it reads from the volume it shares with the agent.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, cmp.Or(os.Getenv("LISTEN"), ":7777")); err != nil {
		fmt.Fprintln(os.Stderr, "udp-echo:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, address string) error {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends ReadFrom
	// Variables and files are there before the game starts.
	fmt.Printf("udp-echo: endpoint %s (environment), %s (file); listening on %v\n", os.Getenv("PORTLEASE_ENDPOINT"), endpoint(), conn.LocalAddr())
	defer fmt.Println("udp-echo stopped")
	packet := make([]byte, 1500)
	for {
		n, player, err := conn.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a packet: %w", err)
		}
		if _, err := conn.WriteTo([]byte(answer(string(packet[:n]))), player); err != nil {
			fmt.Fprintln(os.Stderr, "udp-echo: answering:", err)
		}
	}
}

// answer has the pod's name and the endpoint that players dial.
func answer(said string) string {
	return fmt.Sprintf("%s at %s heard %q\n", os.Getenv("POD_NAME"), endpoint(), strings.TrimSpace(said))
}

// endpoint reads the file for each answer, because the endpoint may change.
func endpoint() string {
	dir := cmp.Or(os.Getenv("PORTLEASE_DIR"), "/portlease")
	text, err := os.ReadFile(filepath.Join(dir, "endpoint")) //nolint:gosec // the agent's own file
	if err != nil {
		return fmt.Sprintf("unknown endpoint (%v)", err)
	}
	return strings.TrimSpace(string(text))
}
