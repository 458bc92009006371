package rig_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/e2e/rig"
)

// TestRights reads the API server's audit log after a life in which everything
// happens: each part used exactly the rights that deploy/rbac grants it. A
// missing verb is a refusal, a superfluous one is never used.
func TestRights(t *testing.T) {
	r := start(t, rig.Config{})
	ctx := t.Context()
	silent := newPod(t, r, "silent", "game=7777/UDP")
	must(t, silent.WaitBound(ctx))
	must(t, silent.Pause())
	must(t, rig.Eventually(ctx, "the event on the silent pod", func() error {
		used, err := usedRights(r)
		if err == nil && !used["allocator"]["create events"] {
			err = fmt.Errorf("used so far: %v", used)
		}
		return err
	}))
	must(t, silent.Resume())
	must(t, silent.Terminate(ctx))
	must(t, rig.Eventually(ctx, "everything to be given back", func() error { return r.CheckEmpty(ctx) }))
	admin, err := r.AdminToken(ctx)
	must(t, err)
	_, err = r.Get(ctx, r.Replicas[0].URL()+"/v1/ports", admin)
	must(t, err)

	granted := map[string]map[string]bool{"allocator": grantedRights(t, "allocator.yaml"), "agent": grantedRights(t, "agent.yaml")}
	must(t, rig.Eventually(ctx, "every right to be used", func() error {
		used, err := usedRights(r)
		if err != nil {
			return err
		}
		for part := range granted {
			if !maps.Equal(used[part], granted[part]) {
				return fmt.Errorf("%s is granted %v and used %v", part, slices.Sorted(maps.Keys(granted[part])), slices.Sorted(maps.Keys(used[part])))
			}
		}
		return nil
	}))
}

// usedRights gives "verb resource" for what the parts of this rig did; a refused
// request is an error.
func usedRights(r *rig.Rig) (map[string]map[string]bool, error) {
	users := map[string]string{
		"system:serviceaccount:" + r.Namespace + ":portlease-allocator": "allocator",
		"system:serviceaccount:" + r.Games + ":game":                    "agent",
	}
	entries, err := kube.AuditEntries()
	if err != nil {
		return nil, err
	}
	used := map[string]map[string]bool{"allocator": {}, "agent": {}}
	for _, e := range entries {
		part, ours := users[e.User]
		if !ours || e.Resource == "" {
			continue
		}
		if e.Code == http.StatusForbidden {
			return nil, fmt.Errorf("%s was refused to %s %s %s", part, e.Verb, e.Resource, e.Name)
		}
		used[part][right(e.Verb, e.Resource, e.Subresource)] = true
	}
	return used, nil
}

func right(verb, resource, subresource string) string {
	if subresource != "" {
		resource += "/" + subresource
	}
	return verb + " " + resource
}

// grantedRights gives "verb resource" for every rule of a manifest.
func grantedRights(t *testing.T, name string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "rbac", name))
	must(t, err)
	granted := make(map[string]bool)
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole
		must(t, yaml.Unmarshal([]byte(document), &role))
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted[right(verb, resource, "")] = true
				}
			}
		}
	}
	if len(granted) == 0 {
		t.Fatalf("%s grants nothing", name)
	}
	return granted
}
