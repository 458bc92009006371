package app_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

func environment(t *testing.T, change map[string]string) func(string) string {
	t.Helper()
	env := map[string]string{
		"PORTLEASE_NAMESPACE": "games", "PORTLEASE_POD": "game-0", "PORTLEASE_POD_UID": "uid-0", "PORTLEASE_POD_IP": "127.30.0.7",
		"PORTLEASE_PORTS": "game=7777/UDP,chat=8080", "PORTLEASE_DIR": t.TempDir(),
		"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443",
	}
	maps.Copy(env, change)
	return func(k string) string { return env[k] }
}

func TestSettingsHaveDefaults(t *testing.T) {
	var out bytes.Buffer
	c, err := app.Parse([]string{"-drain", "5m"}, environment(t, nil), &out)
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}, {Name: "chat", TargetPort: 8080, Protocol: api.TCP}}
	if !slices.Equal(c.Ports, want) || c.Drain != 5*time.Minute || c.ReleaseTimeout != 25*time.Second || c.Pool != "default" || c.Pod.Name != "game-0" {
		t.Errorf("settings are %+v", c)
	}
	if c.Kube.URL != "https://[fd00::1]:443" {
		t.Errorf("the API server is reached by %+v", c.Kube)
	}
	// All from one volume, whose files e2e/rules holds the examples to.
	for _, path := range []string{c.AllocatorCA, c.TokenFile, c.Kube.CAFile, c.Kube.TokenFile} {
		if filepath.Dir(path) != "/var/run/secrets/portlease" {
			t.Errorf("%s is not in the volume of the agent's identity", path)
		}
	}
}

func TestSystemCAsCanBeTrusted(t *testing.T) {
	c, err := app.Parse(nil, environment(t, map[string]string{"PORTLEASE_ALLOCATOR_CA": app.SystemCA}), io.Discard)
	if err != nil || c.AllocatorCA != "" {
		t.Errorf("got the file %q, %v", c.AllocatorCA, err)
	}
}

func TestOutsideOfAClusterTheErrorNamesTheSetting(t *testing.T) {
	_, err := app.Parse(nil, environment(t, map[string]string{"KUBERNETES_SERVICE_HOST": ""}), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "PORTLEASE_KUBE") || !strings.Contains(err.Error(), app.NoKube) {
		t.Errorf("got %v", err)
	}
}

func TestInvalidSettingsAreRefused(t *testing.T) {
	for _, test := range []struct{ variable, value, want string }{
		{"PORTLEASE_ALLOCATOR", "allocator:443", "https://"},
		{"PORTLEASE_NAMESPACE", "", "metadata.namespace"},
		{"PORTLEASE_POD", "", "metadata.name"},
		{"PORTLEASE_POD_UID", "", "metadata.uid"},
		{"PORTLEASE_POD_IP", "game-0", "status.podIP"},
		{"PORTLEASE_POD_IP", "fd00::7", "does not support IPv6 yet"},
		{"PORTLEASE_PORTS", "", "game=7777/UDP"},
		{"PORTLEASE_PORTS", "game=7777/SCTP", "use TCP, UDP or TCP_UDP"},
		{"PORTLEASE_DIR", filepath.Join(t.TempDir(), "none"), "mount a volume"},
		{"PORTLEASE_HTTP_ADDRESS", "9901", ":9901"},
		{"PORTLEASE_LOCAL_ADDRESS", "9902", "127.0.0.1:9902"},
		{"PORTLEASE_HEALTH", "tcp", "tcp:PORT"},
		{"PORTLEASE_HEALTH", "tcp:8080/path", "http:PORT/PATH"},
		{"PORTLEASE_HEALTH", "http:70000/", "http:PORT/PATH"},
		{"PORTLEASE_HEALTH", "udp:7777", "agent"},
		{"PORTLEASE_RELEASE_TIMEOUT", "0s", "more than 0"},
		{"PORTLEASE_DRAIN", "long", "not a duration"},
		{"PORTLEASE_KUBE", "10.0.0.1:443", "none"},
		{"PORTLEASE_LOG_LEVEL", "loud", "debug, info, warn or error"},
	} {
		t.Run(test.variable+"="+test.value, func(t *testing.T) {
			var out bytes.Buffer
			_, err := app.Parse(nil, environment(t, map[string]string{test.variable: test.value}), &out)
			if err == nil {
				t.Fatal("took it")
			}
			for _, part := range []string{test.variable, `"` + test.value + `"`, test.want} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than a line", err)
			}
		})
	}
}

func TestHelpListsAtMostTwentySettings(t *testing.T) {
	var out bytes.Buffer
	if _, err := app.Parse([]string{"--help"}, environment(t, nil), &out); !errors.Is(err, daemon.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	if n := strings.Count(out.String(), "\n-"); n == 0 || n > 20 {
		t.Errorf("%d settings in\n%s", n, out.String())
	}
}
