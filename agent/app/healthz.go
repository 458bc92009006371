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

// Health is the check of the game that the load balancer's health checks depend on, in
// addition to the game's own readiness signals.
type Health struct {
	// Port of the game is checked over TCP, or over HTTP if there is a Path. Zero checks
	// nothing.
	Port int
	Path string
}

// healthTimeout bounds the game's answer. Network load balancers wait six seconds for
// an HTTP answer by default.
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

// check is nil if the game is healthy or nothing is to be checked.
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
			return fmt.Errorf("checking the game: %w", err)
		}
		return connection.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+h.Path, nil)
	if err != nil {
		return fmt.Errorf("checking the game: %w", err)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return fmt.Errorf("checking the game: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("checking the game: it answered %s to %s", resp.Status, req.URL)
	}
	return nil
}

// httpClient follows no redirects, as load balancers do not.
var httpClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
