package app_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/shared/daemon"
)

func parse(env map[string]string, args ...string) (app.Config, error) {
	return app.Parse(args, func(k string) string { return env[k] }, io.Discard)
}

func TestDefaultsHoldTogether(t *testing.T) {
	c, err := parse(nil, "-plain-http")
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := app.Config{
		Listen: ":8443", PlainHTTP: true, PoolFile: "/etc/portlease/pools.yaml", Namespace: "portlease", Identity: host,
		ClaimDuration: 2 * time.Minute, RenewEvery: 30 * time.Second, AgentGrace: 30 * time.Second, TargetGroupLag: time.Minute, InUseWindow: 20 * time.Second, Propagation: 2 * time.Second,
		SweepEvery: 2 * time.Second, AuditEvery: 30 * time.Second, MaxConnections: 4096, LogLevel: "info",
	}
	if c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string // empty: accepted
	}{
		{"TLS", []string{"-tls-cert=c", "-tls-key=k"}, ""},
		{"neither TLS nor plain", nil, "needs tls-cert and tls-key, or tls-secret, or plain-http"},
		{"certificate without key", []string{"-tls-cert=c"}, "needs tls-cert and tls-key"},
		{"key without certificate", []string{"-tls-key=k"}, "needs tls-cert and tls-key"},
		{"plain with certificate", []string{"-plain-http", "-tls-cert=c"}, "give one or the other"},
		{"plain with key", []string{"-plain-http", "-tls-key=k"}, "give one or the other"},
		{"plain with both", []string{"-plain-http", "-tls-cert=c", "-tls-key=k"}, "give one or the other"},

		{"own certificates", []string{"-tls-secret=s"}, ""},
		{"own certificates and files", []string{"-tls-secret=s", "-tls-cert=c", "-tls-key=k"}, "give one or the other"},
		{"own certificates and an authority", []string{"-tls-secret=s", "-tls-ca=a"}, "give one or the other"},
		{"own certificates and none", []string{"-tls-secret=s", "-plain-http"}, "give one or the other"},
		{"trust in own certificates", []string{"-tls-secret=s", "-trust-namespaces=games"}, ""},
		{"trust in an authority", []string{"-tls-cert=c", "-tls-key=k", "-tls-ca=a", "-trust-namespaces=games,more"}, ""},
		{"trust in nothing", []string{"-tls-cert=c", "-tls-key=k", "-trust-namespaces=games"}, "needs tls-ca or tls-secret"},

		{"renewing at a third", []string{"-plain-http", "-claim-duration=90s", "-renew-every=30s"}, ""},
		{"renewing too late", []string{"-plain-http", "-claim-duration=90s", "-renew-every=30001ms"}, "at most a third of claim-duration 1m30s"},
		{"renewing so late that three times it overflows", []string{"-plain-http", "-renew-every=1000000h"}, "at most a third"},
		{"renewing all the time", []string{"-plain-http", "-renew-every=0s"}, "more than 0"},
		{"claim too long for the default of renewing", []string{"-plain-http", "-claim-duration=60s"}, "renew-every"},

		{"shortest claim", []string{"-plain-http", "-claim-duration=1s", "-renew-every=300ms"}, ""},
		{"no claim at all", []string{"-plain-http", "-claim-duration=0s", "-renew-every=1ms"}, "whole seconds from 1s to 24h"},
		{"claim in parts of seconds", []string{"-plain-http", "-claim-duration=90500ms"}, "whole seconds from 1s to 24h"},
		{"longest claim", []string{"-plain-http", "-claim-duration=24h"}, ""},
		{"claim over a day", []string{"-plain-http", "-claim-duration=24h1s"}, "whole seconds from 1s to 24h"},

		{"sweeping all the time", []string{"-plain-http", "-sweep-every=0s"}, "-sweep-every (PORTLEASE_SWEEP_EVERY)"},
		{"listing all the time", []string{"-plain-http", "-audit-every=0s"}, "-audit-every (PORTLEASE_AUDIT_EVERY)"},
		{"no agent grace", []string{"-plain-http", "-agent-grace=0s"}, ""},
		{"negative agent grace", []string{"-plain-http", "-agent-grace=-1s"}, "negative"},
		{"log level", []string{"-plain-http", "-log-level=loud"}, "use debug, info, warn or error"},
		{"unknown flag", []string{"-plain-http", "-renew=1s"}, "-renew"},
		{"argument", []string{"-plain-http", "serve"}, `"serve" is not a flag`},
	} {
		_, err := parse(nil, test.args...)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v; want %q", test.name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is more than a line", test.name, err)
		}
	}
}

// rows are what the help lists: flag, variable and default.
func rows(t *testing.T) [][3]string {
	t.Helper()
	var out bytes.Buffer
	if _, err := app.Parse([]string{"--help"}, func(string) string { return "" }, &out); !errors.Is(err, daemon.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	var list [][3]string
	for line := range strings.Lines(out.String()) {
		if words := strings.Fields(line); len(words) > 3 && strings.HasPrefix(words[0], "-") {
			list = append(list, [3]string{words[0], words[1], words[2]})
		}
	}
	return list
}

// TestHelpListsEverySetting sets each listed setting alone and looks which field
// of Config it moves: every field has one setting, and every setting has one.
func TestHelpListsEverySetting(t *testing.T) {
	// These contradict the others; tried above.
	moved := map[string]string{"PlainHTTP": "PORTLEASE_PLAIN_HTTP", "TLSSecret": "PORTLEASE_TLS_SECRET"}
	for _, row := range rows(t) {
		flag, variable := row[0], row[1]
		if variable == moved["PlainHTTP"] || variable == moved["TLSSecret"] {
			continue
		}
		value := "debug" // is also good as a name
		if n, err := strconv.Atoi(row[2]); err == nil {
			value = strconv.Itoa(n + 1)
		} else if d, err := time.ParseDuration(row[2]); err == nil {
			value = (d + time.Second).String()
		} else if row[2] == "false" {
			value = "true"
		}
		base := map[string]string{"PORTLEASE_TLS_CERT": "c", "PORTLEASE_TLS_KEY": "k", "PORTLEASE_TLS_CA": "ca", "PORTLEASE_IDENTITY": "i"}
		before, err := parse(base)
		if err != nil {
			t.Fatal(err)
		}
		byFlag, err := parse(base, flag+"="+value)
		if err != nil {
			t.Fatalf("%s %s: %v", flag, value, err)
		}
		base[variable] = value
		byVariable, err := parse(base)
		if err != nil || byVariable != byFlag {
			t.Errorf("%s gives %+v, %s gives %+v, %v", flag, byFlag, variable, byVariable, err)
		}
		changed := differing(before, byFlag)
		if len(changed) != 1 || moved[changed[0]] != "" {
			t.Fatalf("%s moves %v, of which %v are others'", flag, changed, moved)
		}
		moved[changed[0]] = variable
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[app.Config]()) {
		if moved[field.Name] == "" {
			t.Errorf("no listed setting moves %s", field.Name)
		}
	}
}

// differing names the fields of two configurations that differ.
func differing(a, b app.Config) []string {
	var names []string
	for _, field := range reflect.VisibleFields(reflect.TypeOf(a)) {
		if !reflect.ValueOf(a).FieldByIndex(field.Index).Equal(reflect.ValueOf(b).FieldByIndex(field.Index)) {
			names = append(names, field.Name)
		}
	}
	return names
}
