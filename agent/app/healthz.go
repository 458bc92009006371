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
)

// Health is what the answer to the load balancer's health checks depends on,
// beside what the game says.
type Health struct {
	// Port is the game's, to be asked over TCP, or over HTTP if there is a Path. Zero
	// asks nobody.
	Port int
	Path string
}

// healthTimeout is how long the game may take to answer. Network load balancers wait
// six seconds for an HTTP answer unless told otherwise.
const healthTimeout = 3 * time.Second

func parseHealth(text string) (Health, error) {
	const remedy = "give agent, tcp:PORT or http:PORT/PATH, as in http:8080/healthz"
	kind, rest, _ := strings.Cut(text, ":")
	number, path, hasPath := strings.Cut(rest, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	switch {
	case text == "agent":
		return Health{}, nil
	case err != nil || port == 0:
		return Health{}, errors.New(remedy)
	case kind == "tcp" && !hasPath:
		return Health{Port: int(port)}, nil
	case kind == "http":
		return Health{Port: int(port), Path: "/" + path}, nil
	}
	return Health{}, errors.New(remedy)
}

// check asks the game, if there is anything to ask; nil means healthy.
func (h Health) check(ctx context.Context, ip string) error {
	if h.Port == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	address := net.JoinHostPort(ip, strconv.Itoa(h.Port))
	if h.Path == "" {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("asking the game: %w", err)
		}
		return connection.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+h.Path, nil)
	if err != nil {
		return fmt.Errorf("asking the game: %w", err)
	}
	resp, err := asking.Do(req)
	if err != nil {
		return fmt.Errorf("asking the game: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("the game answers %s to %s", resp.Status, req.URL)
	}
	return nil
}

// asking follows no redirects, as load balancers do not.
var asking = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
