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
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
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

// TestAgentsAreConfined shows that the systems of these tests run under
// deploy/policy: what RBAC grants an agent and the policy does not is refused.
func TestAgentsAreConfined(t *testing.T) {
	r := start(t, rig.Config{})
	p := newPod(t, r, "confined", "game=7777/UDP")
	must(t, p.WaitBound(t.Context()))
	token, err := kube.PodToken(t.Context(), r.Games, p.Name, "", time.Hour)
	must(t, err)
	agent, err := kubernetes.NewForConfig(kube.TokenConfig(token))
	must(t, err)
	label := func(name string) error {
		_, err := agent.CoreV1().Pods(r.Games).Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
		return err
	}
	if err := label(p.Name); err == nil || !strings.Contains(err.Error(), "'portlease-agent' denied request") {
		t.Errorf("an agent labels its pod: %v", err)
	}
	annotations, err := p.Annotations(t.Context())
	must(t, err)
	if annotations["portlease.dev/endpoint"] == "" {
		t.Errorf("the annotations are %v", annotations)
	}
	check(t, r)
}
