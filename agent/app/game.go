package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/agent/sockets"
	"github.com/portlease/portlease/shared/api"
)

// The kinds of health checks of the game.
const (
	healthAgent   = "agent"
	healthSignals = "signals"
	healthTCP     = "tcp"
	healthHTTP    = "http"
)

// Health is how the agent finds out whether the game runs.
type Health struct {
	// Kind is one of the constants.
	Kind string
	// Port of the game is dialed over TCP, or asked for Path over HTTP.
	Port int
	Path string
}

// healthTimeout bounds the game's answer.
const healthTimeout = 3 * time.Second

func parseHealth(text string) (Health, error) {
	const remedy = "give agent, signals, tcp:PORT or http:PORT/PATH, as in http:8080/healthz"
	kind, rest, _ := strings.Cut(text, ":")
	number, path, hasPath := strings.Cut(rest, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	switch {
	case text == healthAgent, text == healthSignals:
		return Health{Kind: text}, nil
	case err != nil || port == 0:
		return Health{}, errors.New(remedy)
	case kind == healthTCP && !hasPath:
		return Health{Kind: kind, Port: int(port)}, nil
	case kind == healthHTTP:
		return Health{Kind: kind, Port: int(port), Path: "/" + path}, nil
	}
	return Health{}, errors.New(remedy)
}

// look returns how to take a look at the game of a pod with this address and ports.
func (h Health) look(ip string, ports []api.Port) func(context.Context) (problem string, err error) {
	asked := func(ask func(context.Context) error) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, healthTimeout)
			defer cancel()
			if err := ask(ctx); err != nil {
				return err.Error(), nil
			}
			return "", nil
		}
	}
	address := net.JoinHostPort(ip, strconv.Itoa(h.Port))
	switch h.Kind {
	case healthTCP:
		return asked(func(ctx context.Context) error { return dial(ctx, address) })
	case healthHTTP:
		return asked(func(ctx context.Context) error { return get(ctx, "http://"+address+h.Path) })
	case healthSignals:
		return func(context.Context) (string, error) { return "", nil }
	}
	table := sockets.Table{Dir: procNet, IP: ip}
	return func(context.Context) (string, error) {
		missing, err := table.Missing(ports)
		return unheard(missing), err
	}
}

// procNet is where the kernel shows the sockets of the pod's network namespace.
const procNet = "/proc/self/net"

// unheard says which ports no process listens on; empty if there are none.
func unheard(ports []api.Port) string {
	if len(ports) == 0 {
		return ""
	}
	var names []string
	for _, p := range ports {
		names = append(names, fmt.Sprintf("%s (%d/%s)", p.Name, p.TargetPort, p.Protocol))
	}
	return "no process listens on " + strings.Join(names, ", ")
}

func dial(ctx context.Context, address string) error {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("checking the game: %w", err)
	}
	return connection.Close()
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("checking the game: %w", err)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return fmt.Errorf("checking the game: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("checking the game: it answered %s to %s", resp.Status, url)
	}
	return nil
}

// httpClient follows no redirects, as load balancers do not.
var httpClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// checkerAgent begins the User-Agent of Elastic Load Balancing's health checks
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html).
const checkerAgent = "ELB-HealthChecker/"

// byLoadBalancer reports whether a load balancer sent the request. Anybody may pretend to
// be one. That hides at most that the health checks have stopped.
func byLoadBalancer(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), checkerAgent)
}
