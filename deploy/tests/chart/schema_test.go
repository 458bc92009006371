package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// invalid values are refused before anything is installed, with the key and the reason.
var invalid = []struct{ values, key, reason string }{
	{`{replicas: 3}`, "at ''", "additional properties 'replicas' not allowed"},
	{`{allocator: {replicas: 0}}`, "/allocator/replicas", "minimum: got 0, want 1"},
	{`{allocator: {replicas: two}}`, "/allocator/replicas", "got string, want integer"},
	{`{allocator: {setings: {}}}`, "/allocator", "additional properties 'setings' not allowed"},
	{`{allocator: {settings: {claim-durration: 2m}}}`, "/allocator/settings", "additional properties 'claim-durration' not allowed"},
	{`{allocator: {settings: {tls-secret: mine}}}`, "/allocator/settings", "additional properties 'tls-secret' not allowed"},
	{`{allocator: {settings: {claim-duration: 120}}}`, "/allocator/settings/claim-duration", "got number, want string"},
	{`{allocator: {settings: {claim-duration: two minutes}}}`, "/allocator/settings/claim-duration", "does not match pattern"},
	{`{allocator: {settings: {log-level: loud}}}`, "/allocator/settings/log-level", "must be one of 'debug', 'info', 'warn', 'error'"},
	{`{allocator: {settings: {dry-run: sometimes}}}`, "/allocator/settings/dry-run", "got string, want boolean"},
	{`{allocator: {env: [{value: x}]}}`, "/allocator/env/0", "missing property 'name'"},
	{`{allocator: {env: {A: b}}}`, "/allocator/env", "got object, want array"},
	{`{allocator: {podAnnotations: {a: 1}}}`, "/allocator/podAnnotations/a", "got number, want string"},
	{`{allocator: {resources: {memory: 1Gi}}}`, "/allocator/resources", "additional properties 'memory' not allowed"},
	{`{images: {allocator: {digest: latest}}}`, "/images/allocator/digest", "does not match pattern '^(sha256:"},
	{`{images: {agent: {repository: ""}}}`, "/images/agent/repository", "minLength: got 0, want 1"},
	{`{images: {pullPolicy: Sometimes}}`, "/images/pullPolicy", "must be one of 'IfNotPresent'"},
	{`{images: {pullSecrets: registry}}`, "/images/pullSecrets", "got string, want array"},
	{`{pools: {pools: []}}`, "pools.pools", "is empty: name at least one pool"},
	{`{pools: [{name: default}]}`, "/pools", "got array, want object"},
	{`{pools: {pools: [{name: default}]}}`, "/pools/pools/0", "missing property 'listenerPorts'"},
	{`{pools: {pools: [{name: a, listenerPorts: [1], cooldwon: 2m}]}}`, "/pools/pools/0", "additional properties 'cooldwon' not allowed"},
	{`{pools: {pools: [{name: a, listenerPorts: [1], placement: random}]}}`, "/pools/pools/0/placement", "must be one of 'spread', 'pack'"},
	{`{pools: {pools: [{name: a, listenerPorts: [1], loadBalancers: [games-1]}]}}`, "/pools/pools/0/loadBalancers/0", "'games-1' does not match pattern '^arn:"},
	{`{pools: {pools: [{name: a, listenerPorts: [1], namespaces: ["game*"]}]}}`, "/pools/pools/0/namespaces/0", "'game*' does not match pattern"},
	{`{pools: {budget: {share: 2}}}`, "/pools/budget/share", "maximum: got 2, want 1"},
	{`{games: [{namespace: games}]}`, "/games/0", "missing property 'serviceAccounts'"},
	{`{games: [{namespace: games, serviceAccounts: []}]}`, "/games/0/serviceAccounts", "minItems: got 0, want 1"},
	{`{games: [{namespace: games, serviceAccounts: [a, a]}]}`, "/games/0/serviceAccounts", "items at 0 and 1 are equal"},
	{`{games: [{namespace: My Games, serviceAccounts: [a]}]}`, "/games/0/namespace", "does not match pattern"},
	{`{games: [{namespace: games, serviceAccounts: [a]}, {namespace: games, serviceAccounts: [b]}]}`, "games", "namespace games is listed twice"},
	{`{games: games}`, "/games", "got string, want array"},
	{`{aws: {region: Frankfurt}}`, "/aws/region", "'Frankfurt' does not match pattern"},
	{`{tls: {from: letsencrypt}}`, "/tls/from", "must be one of 'self', 'cert-manager', 'secret'"},
	{`{tls: {from: secret}}`, "/tls/secret", "minLength: got 0, want 1"},
	{`{tls: {secret: mine}}`, "/tls/secret", "maxLength: got 4, want 0"},
	{`{tls: {issuer: {name: company}}}`, "/tls/issuer", "maxProperties: got 1, want 0"},
	{`{tls: {from: cert-manager, issuer: {kind: ClusterIssuer}}}`, "/tls/issuer", "missing property 'name'"},
	{`{injection: {enabled: perhaps}}`, "/injection/enabled", "must be one of 'auto', true, false"},
	{`{policies: {leases: "yes"}}`, "/policies/leases", "got string, want boolean"},
	{`{flowControl: {shares: 0}}`, "/flowControl/shares", "minimum: got 0, want 1"},
	{`{flowControl: {precedence: 10001}}`, "/flowControl/precedence", "maximum: got 10,001, want 10,000"},
	{`{flowControl: {share: 30}}`, "/flowControl", "additional properties 'share' not allowed"},
	{`{networkPolicy: {from: monitoring}}`, "/networkPolicy/from", "got string, want array"},
	{`{serviceMonitor: {label: {}}}`, "/serviceMonitor", "additional properties 'label' not allowed"},
}

func TestInvalidValuesAreRefused(t *testing.T) {
	h := newHelm(t)
	// A file, because Helm splits the value of --values at commas.
	path := filepath.Join(t.TempDir(), "values.yaml")
	for _, n := range invalid {
		t.Run(n.values, func(t *testing.T) {
			must(t, os.WriteFile(path, []byte(n.values), 0o600))
			_, err := h.Render(t.Context(), "testdata/plain.values.yaml", "--values", path)
			if err == nil || !strings.Contains(err.Error(), n.key) || !strings.Contains(err.Error(), n.reason) {
				t.Errorf("got error %v, want %q and %q", err, n.key, n.reason)
			}
		})
	}
}

// values reads a values file.
func values(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var m map[string]any
	must(t, yaml.Unmarshal(text, &m))
	return m
}

// TestSchemaAndAllocatorAcceptDocumentedPoolFile checks the example on
// docs/pool-file.md, which has every key. The schema accepts it, and so does the
// allocator as the chart renders it.
func TestSchemaAndAllocatorAcceptDocumentedPoolFile(t *testing.T) {
	_, after, found := strings.Cut(page(t, "pool-file.md"), "```yaml\nbudget:")
	file, _, ended := strings.Cut(after, "```")
	if !found || !ended {
		t.Fatal("docs/pool-file.md has no example with every key")
	}
	renderedPools(t, "pools:\n  "+strings.ReplaceAll("budget:"+file, "\n", "\n  "))
}
