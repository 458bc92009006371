package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/api"
)

// refusing is an allocator without a free port. It passes on the first claim request.
func refusing(t *testing.T) (http.Handler, <-chan api.ClaimRequest) {
	claims := make(chan api.ClaimRequest, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request api.ClaimRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("authorization is %q", got)
		}
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(http.StatusServiceUnavailable)
		if err := json.NewEncoder(w).Encode(api.Errorf(api.Exhausted, "no port is free")); err != nil {
			t.Error(err)
		}
		select {
		case claims <- request:
		default:
		}
	}), claims
}

func config(t *testing.T, change map[string]string) app.Config {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"PORTLEASE_TOKEN_FILE": token, "PORTLEASE_ALLOCATOR_CA": app.SystemCA, "PORTLEASE_KUBE": app.NoKube, "PORTLEASE_HTTP_ADDRESS": "127.0.0.1:0", "PORTLEASE_LOCAL_ADDRESS": "127.0.0.1:0"}
	maps.Copy(all, change)
	c, err := app.Parse(nil, environment(t, all), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProbesAreServedWhileWaitingForAClaim(t *testing.T) {
	handler, claims := refusing(t)
	server := httptest.NewServer(handler)
	defer server.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	c := config(t, map[string]string{"PORTLEASE_ALLOCATOR": server.URL, "PORTLEASE_HEALTH": "signals"})
	asked := make(chan struct{}, 1)
	credentials := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		asked <- struct{}{}
		return aws.Credentials{}, errors.New("none yet")
	})
	go func() {
		ended <- app.Run(ctx, c, app.Dependencies{Listener: listener, AWS: &aws.Config{Region: "us-east-1", Credentials: credentials}}, slog.New(slog.DiscardHandler))
	}()
	request := <-claims
	<-asked // before there is anything to do in AWS
	if request.PodUID != "uid-0" || request.HealthPort != listener.Addr().(*net.TCPAddr).Port || len(request.Ports) != 2 {
		t.Errorf("claimed %+v", request)
	}
	awaitHealth(t, listener.Addr().String(), http.StatusOK)
	for path, want := range map[string]int{
		"/livez": 200, api.HealthPath: 200, "/metrics": 200, "/startupz": 503, "/readyz": 503, "/": 404,
	} {
		resp, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s answered %d %s (%v), want %d", path, resp.StatusCode, body, err, want)
		}
		if path == "/metrics" && !strings.Contains(string(body), "portlease_agent_bound_ports 0") {
			t.Errorf("metrics are %s", body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

func TestStartupErrorNamesTheSetting(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}()
	region := &aws.Config{Region: "us-east-1"}
	for name, test := range map[string]struct {
		change map[string]string
		aws    *aws.Config
		want   string
	}{
		"no region":        {nil, &aws.Config{}, "AWS_REGION"},
		"no Kubernetes CA": {map[string]string{"PORTLEASE_KUBE": "https://127.0.0.1:1", "PORTLEASE_KUBE_CA": filepath.Join(t.TempDir(), "none")}, region, "Kubernetes client"},
		"address in use":   {map[string]string{"PORTLEASE_HTTP_ADDRESS": taken.Addr().String()}, region, "-http-address (PORTLEASE_HTTP_ADDRESS)"},
		"local in use":     {map[string]string{"PORTLEASE_LOCAL_ADDRESS": taken.Addr().String()}, region, "-local-address (PORTLEASE_LOCAL_ADDRESS)"},
		"no such CA":       {map[string]string{"PORTLEASE_ALLOCATOR_CA": filepath.Join(t.TempDir(), "none")}, region, "CA"},
	} {
		t.Run(name, func(t *testing.T) {
			err := app.Run(t.Context(), config(t, test.change), app.Dependencies{AWS: test.aws}, slog.New(slog.DiscardHandler))
			if !errors.Is(err, app.ErrSetting) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %s", err, test.want)
			}
		})
	}
}
