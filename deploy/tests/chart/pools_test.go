package chart_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/deploy/tests/chart"
)

// renderedPools returns the pool file that the chart renders, as the allocator reads it.
// The values are added to those of the case plain.
func renderedPools(t *testing.T, text string) poolfile.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	rendered, err := newHelm(t).Render(t.Context(), "testdata/plain.values.yaml", "--values", path)
	must(t, err)
	objects, err := chart.Objects(rendered)
	must(t, err)
	at := slices.IndexFunc(objects, func(o chart.Object) bool { return o.Kind == "ConfigMap" && o.Name == "portlease-pools" })
	if at < 0 {
		t.Fatal("the rendering has no ConfigMap portlease-pools")
	}
	var pools struct{ Data map[string]string }
	must(t, yaml.Unmarshal([]byte(objects[at].Text), &pools))
	file, err := poolfile.Parse([]byte(pools.Data["pools.yaml"]))
	must(t, err)
	return file
}

// TestPoolsAdmitTheNamespacesOfGames: a pool that names no namespace admits those of
// games. Otherwise every pod in the cluster that gets the rights could claim from it.
func TestPoolsAdmitTheNamespacesOfGames(t *testing.T) {
	for written, want := range map[string][]string{
		"":                        {"games", "arena"},
		"namespaces: []":          {"games", "arena"},
		"namespaces: [arena]":     {"arena"},
		"namespaces: [elsewhere]": {"elsewhere"},
		`namespaces: ["*"]`:       nil, // an empty list of the pool file admits all
	} {
		t.Run(written, func(t *testing.T) {
			file := renderedPools(t, fmt.Sprintf(`
games: [{namespace: games, serviceAccounts: [game]}, {namespace: arena, serviceAccounts: [game]}]
pools:
  pools:
  - name: default
    loadBalancerTags: {team: games}
    listenerPorts: ["30000-30049"]
    quota: {perPod: 2, perNamespace: 40}
    %s
`, written))
			terms := file.Pools[0].Terms
			if !slices.Equal(terms.Namespaces, want) {
				t.Errorf("the pool admits %q, want %q", terms.Namespaces, want)
			}
			if terms.Quota.PerPod != 2 || terms.Quota.PerNamespace != 40 {
				t.Errorf("the quota is %+v", terms.Quota)
			}
		})
	}
}
