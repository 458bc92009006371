package chart_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	allocator "github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/shared/daemon"
)

// byChart are the settings that the chart itself sets; they are not in
// allocator.settings.
var byChart = []string{
	"listen", "tls-cert", "tls-key", "tls-ca", "tls-secret", "tls-names", "trust-namespaces", "plain-http",
	"pools", "namespace", "identity", "kubeconfig", "memory-limit",
}

// listedSettings maps every flag in the allocator's help to its variable.
func listedSettings(t *testing.T) map[string]string {
	t.Helper()
	var help bytes.Buffer
	if _, err := allocator.Parse([]string{"--help"}, func(string) string { return "" }, &help); !errors.Is(err, daemon.ErrHelp) {
		t.Fatal(err)
	}
	variables := make(map[string]string)
	for line := range strings.Lines(help.String()) {
		if words := strings.Fields(line); len(words) > 3 && strings.HasPrefix(words[0], "-") {
			variables[strings.TrimPrefix(words[0], "-")] = words[1]
		}
	}
	return variables
}

// TestEverySettingIsInTheSchema checks each of the allocator's settings. The chart
// sets it, or has it in allocator.settings with the variable that the allocator
// reads.
func TestEverySettingIsInTheSchema(t *testing.T) {
	schema := values(t, filepath.Join(chart.Folder(), "values.schema.json"))
	settings := schema["properties"]
	for _, key := range []string{"allocator", "properties", "settings", "properties"} {
		settings = settings.(map[string]any)[key]
	}
	variables := listedSettings(t)
	known := slices.Clone(byChart)
	for flag := range settings.(map[string]any) {
		known = append(known, flag)
		if want := "PORTLEASE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")); variables[flag] != want {
			t.Errorf("the variable of %s is %s, but the chart sets %s", flag, variables[flag], want)
		}
		if !strings.Contains(page(t, "install.md"), "\n| `"+flag+"` |") {
			t.Errorf("docs/install.md does not list the setting %s", flag)
		}
	}
	slices.Sort(known)
	if listed := slices.Sorted(maps.Keys(variables)); !slices.Equal(known, listed) {
		t.Errorf("the allocator has the settings %v, chart and schema have %v", listed, known)
	}
}

// parsed returns the allocator's settings with the variables of a rendering.
func parsed(t *testing.T, rendered string) allocator.Config {
	t.Helper()
	given, err := chart.Settings(rendered)
	must(t, err)
	known := slices.Collect(maps.Values(listedSettings(t)))
	for name := range given {
		if strings.HasPrefix(name, "PORTLEASE_") && !slices.Contains(known, name) {
			t.Errorf("the chart sets %s, which the allocator does not know", name)
		}
	}
	c, err := allocator.Parse(nil, func(name string) string { return given[name] }, io.Discard)
	must(t, err)
	return c
}

// TestAllocatorParsesRenderedSettings parses the variables of each golden file, and
// compares the settings of three of them.
func TestAllocatorParsesRenderedSettings(t *testing.T) {
	golden, err := filepath.Glob("testdata/*.golden.yaml")
	must(t, err)
	read := make(map[string]allocator.Config)
	for _, path := range golden {
		text, err := os.ReadFile(path)
		must(t, err)
		if !strings.Contains(string(text), "\nkind: Deployment\n") {
			continue // it renders one template only
		}
		c := parsed(t, string(text))
		c.Identity = ""
		read[strings.TrimSuffix(filepath.Base(path), ".golden.yaml")] = c
	}
	plain := allocator.Config{
		Listen: ":8443", TLSSecret: "portlease-tls", TrustNamespaces: "games", PoolFile: "/etc/portlease/pools.yaml", Namespace: "portlease",
		ClaimDuration: 2 * time.Minute, RenewEvery: 30 * time.Second, AgentGrace: 30 * time.Second, TargetGroupLag: time.Minute, InUseWindow: 20 * time.Second, Propagation: 2 * time.Second, SweepEvery: 2 * time.Second, AuditEvery: 30 * time.Second,
		MaxConnections: 4096, LogLevel: "info",
	}
	files := plain
	files.TLSSecret, files.TrustNamespaces = "", ""
	files.TLSCert, files.TLSKey, files.TLSCA = "/var/run/portlease/tls/tls.crt", "/var/run/portlease/tls/tls.key", "/var/run/portlease/tls/ca.crt"
	full := files
	full.TrustNamespaces, full.ClaimDuration, full.RenewEvery, full.DryRun, full.LogLevel = "games,arena", 3*time.Minute, 20*time.Second, true, "debug"
	for name, want := range map[string]allocator.Config{"plain": plain, "secret": files, "full": full} {
		if read[name] != want {
			t.Errorf("%s: got settings %+v, want %+v", name, read[name], want)
		}
	}
}

// TestEnvReplacesVariablesOfTheChart checks that allocator.env takes precedence. No
// variable may be listed twice, because server-side apply refuses that.
func TestEnvReplacesVariablesOfTheChart(t *testing.T) {
	own := map[string]string{
		"PORTLEASE_NAMESPACE": "other", "PORTLEASE_IDENTITY": "it", "PORTLEASE_LOG_LEVEL": "warn", "AWS_REGION": "us-east-2", "GOMEMLIMIT": "100MiB", "PORTLEASE_TLS_NAMES": "a",
	}
	var text strings.Builder
	text.WriteString("aws: {region: us-east-1}\nallocator:\n  settings: {log-level: debug}\n  env:\n")
	for name, value := range own {
		text.WriteString("  - {name: " + name + ", value: " + value + "}\n")
	}
	path := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(path, []byte(text.String()), 0o600))
	rendered, err := newHelm(t).Render(t.Context(), "testdata/plain.values.yaml", "--values", path)
	must(t, err)
	given, err := chart.Settings(rendered)
	must(t, err)
	for name, value := range own {
		if given[name] != value {
			t.Errorf("%s is %q, want %q", name, given[name], value)
		}
	}
}
