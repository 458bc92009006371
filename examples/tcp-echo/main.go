// The tcp-echo game server answers every line with its pod's name and its public
// endpoint, which it reads from the volume it shares with the agent.
package main

import (
	"bufio"
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
	if err := serve(ctx, cmp.Or(os.Getenv("LISTEN"), ":8080")); err != nil {
		fmt.Fprintln(os.Stderr, "tcp-echo:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() }) // ends Accept
	// Variables and files are there before the game starts.
	fmt.Printf("tcp-echo: endpoint %s (environment), %s (file); listening on %v\n", os.Getenv("PORTLEASE_ENDPOINT"), endpoint(), listener.Addr())
	defer fmt.Println("tcp-echo stopped")
	for {
		player, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a player: %w", err)
		}
		go play(player)
	}
}

func play(player net.Conn) {
	defer player.Close() //nolint:errcheck // the player is gone either way
	for lines := bufio.NewScanner(player); lines.Scan(); {
		if _, err := fmt.Fprint(player, answer(lines.Text())); err != nil {
			return
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
