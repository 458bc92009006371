package elbemu

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// probe is one real health check.
type probe struct {
	group    *targetGroup
	target   *target
	epoch    time.Time // when the group was attached
	begun    time.Time // intervals start here
	protocol string
	address  string // host:port
	path     string
	codes    string
	timeout  time.Duration
}

func newProbe(g *targetGroup, t *target, now time.Time) probe {
	return probe{
		group: g, target: t, epoch: g.attachedAt, begun: now,
		protocol: g.check.protocol,
		address:  net.JoinHostPort(t.id, strconv.Itoa(g.check.portOf(t.port))),
		path:     g.check.path, codes: g.check.codes, timeout: g.check.patience(),
	}
}

// run returns why the target failed the check, or nil. A TCP check passes when the
// connection opens. HTTPS certificates are not verified, as on AWS.
func (p probe) run(ctx context.Context) error {
	if p.protocol == "TCP" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
		if err != nil {
			return fmt.Errorf("connecting for health check: %w", err)
		}
		return conn.Close()
	}
	scheme := "http"
	if p.protocol == "HTTPS" {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+p.address+p.path, nil)
	if err != nil {
		return fmt.Errorf("building the health check request: %w", err)
	}
	request.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("sending health check: %w", err)
	}
	if err := response.Body.Close(); err != nil {
		return fmt.Errorf("closing the health check response: %w", err)
	}
	ranges, _ := codeRanges(p.codes) // only valid matchers are stored
	if !slices.ContainsFunc(ranges, func(r [2]int) bool { return r[0] <= response.StatusCode && response.StatusCode <= r[1] }) {
		return fmt.Errorf("health check answered HTTP %d, outside %s", response.StatusCode, p.codes)
	}
	return nil
}
