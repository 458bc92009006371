package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/shared/daemon"
)

// The agent and its preStop command share this setting.
const (
	localFlag     = "local-address"
	localVariable = "PORTLEASE_LOCAL_ADDRESS"
	localDefault  = "127.0.0.1:9902"
)

// The paths of the local API. The game server and the preStop hook post to them.
const (
	PathReady    = "/v1/ready"
	PathNotReady = "/v1/notready"
	PathDrained  = "/v1/drained"
	PathPreStop  = "/v1/prestop"
)

// local serves the API that only the pod itself may call. A report that cannot be
// remembered counts all the same, until the agent restarts, and the answer says so.
func local(agent *lifecycle.Agent, board *announce.Board, remembered marker, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+announce.PathEndpoint, board)
	nothing := func() error { return nil }
	for path, signal := range map[string]struct {
		send     func()
		remember func() error
	}{
		PathReady: {agent.GameReady, remembered.ready}, PathNotReady: {agent.GameNotReady, remembered.notReady},
		PathDrained: {agent.GameDrained, nothing}, PathPreStop: {agent.PodStopping, nothing},
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			signal.send()
			if err := signal.remember(); err != nil {
				log.WarnContext(r.Context(), "the game's report counts only until the agent restarts", "err", err)
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	return mux
}

// preStopTimeout bounds the preStop hook, whose time is the grace period's.
const preStopTimeout = 5 * time.Second

// PreStop is the command of the agent container's preStop hook. It tells the agent that
// the pod's termination has begun. It returns daemon.ErrHelp after printing the help to
// out.
func PreStop(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	var address string
	s := daemon.NewSettings("portlease-agent prestop", "Tells the agent in this pod that the pod's termination has begun, so that the agent withdraws the endpoint. Use it as the preStop hook of the agent's container.", getenv)
	declareLocalAddress(s, &address, "address that the agent listens on")
	if err := s.Parse(args, out); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, preStopTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+PathPreStop, nil)
	if err != nil {
		return fmt.Errorf("notifying the agent: %w", err)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return fmt.Errorf("notifying the agent: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("notifying the agent: it answered %s", resp.Status)
	}
	return nil
}
