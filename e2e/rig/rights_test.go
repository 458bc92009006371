package rig_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/rig"
)

// TestEachPartUsesExactlyItsRights makes the system do everything and then reads the
// API server's audit log. Each part used exactly the rights that the chart grants. A
// missing verb shows as a refused request, a superfluous one as never used.
func TestEachPartUsesExactlyItsRights(t *testing.T) {
	r := start(t, rig.Config{Replicas: 2})
	ctx := t.Context()
	silent := newPod(t, r, "silent", "game=7777/UDP")
	must(t, silent.WaitBound(ctx))
	must(t, silent.Pause())
	must(t, rig.Eventually(ctx, "the event on the silent pod", func() error {
		used, err := usedRights(r)
		if err == nil && !used["allocator"]["create events in "+chart.Games] {
			err = fmt.Errorf("used so far: %v", used)
		}
		return err
	}))
	must(t, silent.Resume())
	must(t, silent.Terminate(ctx))
	must(t, rig.Eventually(ctx, "every port to be released", func() error { return r.CheckEmpty(ctx) }))
	// An agent that is told by mistake that its pod stops announces again, which counts up
	// its event.
	restored := unreadableClaim(t, r) // for the next claim the allocator lists claims
	hesitant := newPod(t, r, "hesitant", "game=7777/UDP")
	must(t, hesitant.WaitBound(ctx), hesitant.Say(ctx, app.PathPreStop))
	restored()
	admin, err := r.AdminToken(ctx)
	must(t, err)
	_, err = r.Get(ctx, r.Replicas[0].URL()+"/v1/ports", admin)
	must(t, err)

	replicaOfItsOwn(t, r)
	bundlesArePutRight(t, r)

	granted := grantedRights(t)
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

// unreadableClaim makes a claim lease that cannot be read, until restored is called.
func unreadableClaim(t *testing.T, r *rig.Rig) (restored func()) {
	t.Helper()
	leases, lease := r.Admin.CoordinationV1().Leases(r.Namespace), &coordinationv1.Lease{}
	lease.Name, lease.Labels = "claim-unreadable", map[string]string{"portlease.dev/kind": "claim"}
	_, err := leases.Create(t.Context(), lease, metav1.CreateOptions{})
	must(t, err)
	return func() {
		t.Helper()
		must(t, leases.Delete(t.Context(), lease.Name, metav1.DeleteOptions{}))
	}
}

// replicaOfItsOwn makes a replica create its certificates itself, in the Secret that
// the chart lets it write. The replica must repair the Secret after the test has
// damaged it.
func replicaOfItsOwn(t *testing.T, r *rig.Rig) {
	t.Helper()
	ctx, secrets := t.Context(), r.Admin.CoreV1().Secrets(r.Namespace)
	own := r.Replicas[1]
	must(t, own.Stop(ctx), own.Configure("-tls-cert=", "-tls-key=", "-tls-ca=", "-tls-secret=portlease-tls"), own.Start(ctx))
	must(t, rig.Eventually(ctx, "a secret to be made", func() error {
		_, err := secrets.Get(ctx, "portlease-tls", metav1.GetOptions{})
		return err
	}))
	spoil := []byte(`{"data":{"tls.crt":"bm9uc2Vuc2U="}}`)
	spoilt, err := secrets.Patch(ctx, "portlease-tls", types.MergePatchType, spoil, metav1.PatchOptions{})
	must(t, err)
	must(t, rig.Eventually(ctx, "the secret to be repaired", func() error {
		now, err := secrets.Get(ctx, "portlease-tls", metav1.GetOptions{})
		if err == nil && bytes.Equal(now.Data["tls.crt"], spoilt.Data["tls.crt"]) {
			err = errors.New("it is as it was spoilt")
		}
		return err
	}))
	must(t, own.Stop(ctx), own.Configure(), own.Start(ctx), own.WaitReady(ctx))
}

// bundlesArePutRight damages the CA bundles that agents trust, in both namespaces;
// the replica must repair them.
func bundlesArePutRight(t *testing.T, r *rig.Rig) {
	t.Helper()
	ctx := t.Context()
	for _, namespace := range []string{r.Namespace, r.Games} {
		bundles := r.Admin.CoreV1().ConfigMaps(namespace)
		must(t, rig.Eventually(ctx, "certificates to trust in "+namespace, func() error {
			_, err := bundles.Get(ctx, "portlease-ca", metav1.GetOptions{})
			return err
		}))
		_, err := bundles.Patch(ctx, "portlease-ca", types.MergePatchType, []byte(`{"data":{"ca.crt":"nonsense"}}`), metav1.PatchOptions{})
		must(t, err)
		must(t, rig.Eventually(ctx, "certificates in "+namespace+" to be repaired", func() error {
			now, err := bundles.Get(ctx, "portlease-ca", metav1.GetOptions{})
			if err == nil && !strings.Contains(now.Data["ca.crt"], "BEGIN CERTIFICATE") {
				err = errors.New(now.Data["ca.crt"])
			}
			return err
		}))
	}
}

// roles maps the chart's roles to the parts that have them.
var roles = map[string]string{"portlease-allocator": "allocator", "portlease-games": "allocator", "portlease-agent": "agent"}

// usedRights gives what the parts of this rig did, as "verb resource in namespace".
// It omits the namespace of rights that are granted in all namespaces. A refused
// request is an error.
func usedRights(r *rig.Rig) (map[string]map[string]bool, error) {
	users := map[string]string{
		"system:serviceaccount:" + r.Namespace + ":portlease-allocator": "allocator",
		"system:serviceaccount:" + r.Games + ":game":                    "agent",
	}
	namespaces := map[string]string{r.Namespace: chart.Namespace, r.Games: chart.Games}
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
		right := e.Verb + " " + e.Resource
		if e.Subresource != "" {
			right += "/" + e.Subresource
		}
		if part == "allocator" && slices.Contains(limited, e.Resource) {
			right += " in " + namespaces[e.Namespace]
		}
		used[part][right] = true
	}
	return used, nil
}

// limited are the resources that the allocator is granted in some namespaces only. The
// agent's rights are all bound in each namespace of games.
var limited = []string{"leases", "configmaps", "secrets", "pods", "events"}

// grantedRights gives every rule of the chart in the same form.
func grantedRights(t *testing.T) map[string]map[string]bool {
	t.Helper()
	objects, err := rig.ChartObjects()
	must(t, err)
	granted := map[string]map[string]bool{"allocator": {}, "agent": {}}
	for _, o := range objects {
		if o.Kind != "Role" && o.Kind != "ClusterRole" {
			continue
		}
		var role rbacv1.ClusterRole // a Role has the same rules
		must(t, yaml.Unmarshal([]byte(o.Text), &role))
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					right := verb + " " + resource
					if o.Namespace != "" {
						right += " in " + o.Namespace
					}
					granted[roles[o.Name]][right] = true
				}
			}
		}
	}
	for part, rights := range granted {
		if len(rights) == 0 {
			t.Fatalf("the chart grants nothing to the %s", part)
		}
	}
	return granted
}

// TestAgentsAreConfined shows that these tests run under the chart's policy
// portlease-agent. It refuses requests that RBAC allows an agent and the policy does
// not.
func TestAgentsAreConfined(t *testing.T) {
	r := start(t, rig.Config{})
	p := newPod(t, r, "confined", "game=7777/UDP")
	must(t, p.WaitAnnounced(t.Context()))
	token, err := kube.PodToken(t.Context(), r.Games, p.Name, "", time.Hour)
	must(t, err)
	agent, err := kubernetes.NewForConfig(kube.TokenConfig(token))
	must(t, err)
	// The API server enforces a new policy after a moment, which a bound pod does not wait for.
	must(t, rig.Eventually(t.Context(), "the policy to refuse a label", func() error {
		_, err := agent.CoreV1().Pods(r.Games).Patch(t.Context(), p.Name, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("an agent may label its pod")
		}
		if !strings.Contains(err.Error(), "'portlease-agent-"+r.Games+"' denied request") {
			return fmt.Errorf("an agent labels its pod: %w", err)
		}
		return nil
	}))
	annotations, err := p.Annotations(t.Context())
	must(t, err)
	if annotations["portlease.dev/endpoint"] == "" {
		t.Errorf("the annotations are %v", annotations)
	}
	check(t, r)
}
