package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// waiting runs an agent that waits for its claim, and gives the addresses that it
// serves on.
func waiting(t *testing.T, change map[string]string) (public, private string) {
	t.Helper()
	handler, claims := refusing(t)
	allocator := httptest.NewServer(handler)
	t.Cleanup(allocator.Close)
	var deps app.Dependencies
	for _, one := range []struct {
		listener *net.Listener
		address  *string
	}{{&deps.Listener, &public}, {&deps.Local, &private}} {
		opened, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*one.listener, *one.address = opened, opened.Addr().String()
	}
	if change == nil {
		change = make(map[string]string)
	}
	change["PORTLEASE_ALLOCATOR"] = allocator.URL
	c := config(t, change)
	deps.AWS = &aws.Config{Region: "us-east-1"}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx, c, deps, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the process ended with %v", err)
		}
	})
	<-claims
	return public, private
}

func ask(t *testing.T, method, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

// Signals work on the local address only, by POST only. Load balancers reach the other
// address.
func TestSignalsAreAcceptedFromThePodOnly(t *testing.T) {
	public, private := waiting(t, map[string]string{"PORTLEASE_HEALTH": "signals"})
	for _, path := range []string{app.PathReady, app.PathNotReady, app.PathDrained, app.PathPreStop} {
		if got := ask(t, http.MethodPost, "http://"+public+path); got != http.StatusNotFound {
			t.Errorf("everybody may POST %s: %d", path, got)
		}
		if got := ask(t, http.MethodGet, "http://"+private+path); got != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, got)
		}
	}
	if got := ask(t, http.MethodGet, "http://"+private+announce.PathEndpoint); got != http.StatusServiceUnavailable {
		t.Errorf("before anything is bound the endpoint is answered with %d", got)
	}
	if got := ask(t, http.MethodGet, "http://"+public+announce.PathEndpoint); got != http.StatusNotFound {
		t.Errorf("everybody may read the endpoint: %d", got)
	}
	for _, step := range []struct {
		path string
		want int
	}{{app.PathReady, http.StatusOK}, {app.PathNotReady, http.StatusServiceUnavailable}, {app.PathNotReady, http.StatusServiceUnavailable}, {app.PathReady, http.StatusOK}} {
		if got := ask(t, http.MethodPost, "http://"+private+step.path); got != http.StatusNoContent {
			t.Errorf("POST %s: %d", step.path, got)
		}
		awaitHealth(t, public, step.want)
	}
}

// awaitHealth waits for an answer to the load balancer's health checks. The agent looks at
// the game in the background.
func awaitHealth(t *testing.T, public string, want int) {
	t.Helper()
	for {
		got := ask(t, http.MethodGet, "http://"+public+api.HealthPath)
		if got == want {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("the health check gets %d, want %d", got, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A UDP port has no health check of its own, so its socket is looked for.
func TestUDPGameWithoutASocketIsUnhealthy(t *testing.T) {
	opened, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, _ := opened.LocalAddr().(*net.UDPAddr)
	ports := "game=" + strconv.Itoa(udp.Port) + "/UDP"
	public, _ := waiting(t, map[string]string{"PORTLEASE_POD_IP": "127.0.0.1", "PORTLEASE_PORTS": ports})
	awaitHealth(t, public, http.StatusOK)
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, public, http.StatusServiceUnavailable)
	again, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", opened.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close() //nolint:errcheck // the test is over
	awaitHealth(t, public, http.StatusOK)
}

func TestHealthCheckDependsOnTheGame(t *testing.T) {
	game := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/well":
		case "/moved":
			http.Redirect(w, r, "/ill", http.StatusFound)
		case "/hangs":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(game.Close)
	ip, port, err := net.SplitHostPort(game.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, _ := closed.Addr().(*net.TCPAddr)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for health, want := range map[string]int{
		"agent": http.StatusOK, "signals": http.StatusOK,
		"tcp:" + port: http.StatusOK, "tcp:" + strconv.Itoa(tcp.Port): http.StatusServiceUnavailable,
		"http:" + port + "/well": http.StatusOK, "http:" + port + "/moved": http.StatusOK,
		"http:" + port + "/ill": http.StatusServiceUnavailable, "http:" + port + "/hangs": http.StatusServiceUnavailable,
	} {
		t.Run(health, func(t *testing.T) {
			t.Parallel()
			public, private := waiting(t, map[string]string{"PORTLEASE_HEALTH": health, "PORTLEASE_POD_IP": ip, "PORTLEASE_PORTS": "game=" + port + "/TCP"})
			awaitHealth(t, public, want)
			if got := ask(t, http.MethodPost, "http://"+private+app.PathNotReady); got != http.StatusNoContent {
				t.Errorf("not ready: %d", got)
			}
			if got := ask(t, http.MethodGet, "http://"+public+api.HealthPath); got != http.StatusServiceUnavailable {
				t.Errorf("a game that is not ready gets %d", got)
			}
		})
	}
}

// awaitReport waits for a health check that the game decides, and not that nobody has
// looked at the game yet.
func awaitReport(t *testing.T, public string) int {
	t.Helper()
	for {
		resp, err := http.Get("http://" + public + api.HealthPath)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusOK || strings.Contains(string(body), "it is not ready") {
			return resp.StatusCode
		}
	}
}

func TestNotReadyOutlivesTheAgent(t *testing.T) {
	dir := t.TempDir()
	settings := func() map[string]string {
		return map[string]string{"PORTLEASE_HEALTH": "signals", "PORTLEASE_DIR": dir}
	}
	for _, step := range []struct {
		before int
		path   string
		after  int
	}{
		{http.StatusOK, app.PathNotReady, http.StatusServiceUnavailable},
		{http.StatusServiceUnavailable, app.PathNotReady, http.StatusServiceUnavailable},
		{http.StatusServiceUnavailable, app.PathReady, http.StatusOK},
		{http.StatusOK, app.PathReady, http.StatusOK},
	} {
		t.Run(step.path, func(t *testing.T) { // its agent ends with it
			public, private := waiting(t, settings())
			if got := awaitReport(t, public); got != step.before {
				t.Errorf("a new agent answers %d, want %d", got, step.before)
			}
			if got := ask(t, http.MethodPost, "http://"+private+step.path); got != http.StatusNoContent {
				t.Errorf("POST %s: %d", step.path, got)
			}
			awaitHealth(t, public, step.after)
		})
	}
	public, private := waiting(t, settings())
	if err := os.Mkdir(filepath.Join(dir, ".notready"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, http.MethodPost, "http://"+private+app.PathNotReady); got != http.StatusInternalServerError {
		t.Errorf("what cannot be remembered is answered with %d", got)
	}
	awaitHealth(t, public, http.StatusServiceUnavailable)
}

func TestPreStopCommandNotifiesTheAgent(t *testing.T) {
	_, private := waiting(t, nil)
	none := func(string) string { return "" }
	if err := app.PreStop(t.Context(), []string{"-local-address", private}, none, io.Discard); err != nil {
		t.Error(err)
	}
	variable := func(name string) string {
		if name == "PORTLEASE_LOCAL_ADDRESS" {
			return private
		}
		return ""
	}
	if err := app.PreStop(t.Context(), nil, variable, io.Discard); err != nil {
		t.Error(err)
	}
	if err := app.PreStop(t.Context(), []string{"-local-address", "127.0.0.1:1"}, none, io.Discard); err == nil || !strings.Contains(err.Error(), "notifying the agent") {
		t.Errorf("with no agent there: %v", err)
	}
	if err := app.PreStop(t.Context(), []string{"-local-address", "9902"}, none, io.Discard); err == nil || !strings.Contains(err.Error(), "PORTLEASE_LOCAL_ADDRESS") {
		t.Errorf("with no address: %v", err)
	}
	var out bytes.Buffer
	if err := app.PreStop(t.Context(), []string{"--help"}, none, &out); !errors.Is(err, daemon.ErrHelp) || !strings.Contains(out.String(), "preStop") {
		t.Errorf("help: %v, %s", err, out.String())
	}
}
