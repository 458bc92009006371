package chart_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/metadata"

	"github.com/portlease/portlease/deploy/tests/chart"
)

// listed returns the objects of a resource, such as "roles.v1.rbac.authorization.k8s.io",
// in all namespaces.
func listed(ctx context.Context, resource string, of metav1.ListOptions) ([]metav1.PartialObjectMetadata, error) {
	client, err := metadata.NewForConfig(cluster.AdminConfig())
	if err != nil {
		return nil, err
	}
	parsed, _ := schema.ParseResourceArg(resource)
	list, err := client.Resource(*parsed).List(ctx, of)
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// TestHeldLeasesAreProtected tries deletions by several users, one by one and all at
// once.
func TestHeldLeasesAreProtected(t *testing.T) {
	r := newRelease(t)
	remove := func(user, name string) error {
		return r.as(user).CoordinationV1().Leases(r.namespace).Delete(t.Context(), name, metav1.DeleteOptions{})
	}
	r.lease("bound", "bound")
	r.waitUntilProtected("bound")
	for _, state := range []string{"claimed", "granted", "releasing"} {
		r.lease(state, state)
	}
	for _, state := range []string{"claimed", "granted", "bound", "releasing"} {
		err := remove("", state)
		want := "kubectl annotate -n " + r.namespace + " lease " + state + " portlease.dev/abandon=true && kubectl delete -n " + r.namespace + " lease " + state
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("deleting %s: got %v, want a refusal with %q", state, err, want)
		}
	}
	// Only the namespace controller may delete all Leases at once.
	collection := func(user string) error {
		return r.as(user).CoordinationV1().Leases(r.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, metav1.ListOptions{})
	}
	for _, user := range []string{"", "somebody", "system:serviceaccount:" + r.namespace + ":other", "system:serviceaccount:kube-system:generic-garbage-collector"} {
		if err := collection(user); !apierrors.IsForbidden(err) {
			t.Errorf("%q deletes all leases at once: got %v, want a refusal", user, err)
		}
	}
	must(t, collection("system:serviceaccount:kube-system:namespace-controller"))
	// The policy protects neither Leases without a holder nor those of other namespaces.
	for _, state := range []string{"free", "cooldown", "blocked", "waiting"} {
		r.lease(state, state)
		must(t, remove("", state))
	}
	elsewhere := r.namespace
	r.namespace = r.games
	r.lease("bound", "bound")
	must(t, remove("", "bound"))
	r.namespace = elsewhere

	must(t, remove("system:serviceaccount:"+r.namespace+":portlease-allocator", "claimed"))
	_, err := r.admin.CoordinationV1().Leases(r.namespace).Patch(t.Context(), "granted", types.MergePatchType, []byte(`{"metadata":{"annotations":{"portlease.dev/abandon":"true"}}}`), metav1.PatchOptions{})
	must(t, err, remove("", "granted"))
	r.must(r.run("uninstall", "--no-hooks"))
	r.eventually("the policy to be gone", func() error { return remove("", "bound") })
}

// TestAPIServerAcceptsEveryObject tries each object of the golden files, except kinds of
// cert-manager and Prometheus, which are not installed.
func TestAPIServerAcceptsEveryObject(t *testing.T) {
	for _, namespace := range []string{chart.Namespace, chart.Games, "arena"} {
		must(t, cluster.Apply(t.Context(), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n")))
	}
	golden, err := filepath.Glob("testdata/*.golden.yaml")
	must(t, err)
	for _, path := range golden {
		t.Run(filepath.Base(path), func(t *testing.T) {
			for _, o := range objectsOf(t, path) {
				if strings.HasPrefix(o.APIVersion, "cert-manager.io/") || strings.HasPrefix(o.APIVersion, "monitoring.coreos.com/") {
					continue
				}
				if err := cluster.Try(t.Context(), []byte(o.Text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func objectsOf(t *testing.T, path string) []chart.Object {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	objects, err := chart.Objects(string(text))
	must(t, err)
	if len(objects) == 0 {
		t.Fatalf("%s has no objects", path)
	}
	return objects
}

// TestAllocatorPodIsRestricted checks that the pod meets the strictest of the Pod
// Security Standards.
func TestAllocatorPodIsRestricted(t *testing.T) {
	r := &release{T: t}
	r.admin = r.as("")
	namespace, err := cluster.Namespace(t.Context(), "restricted")
	must(t, err)
	_, err = r.admin.CoreV1().Namespaces().Patch(t.Context(), namespace, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
	must(t, err)
	try := func(spec corev1.PodSpec) error {
		spec.ServiceAccountName = "default"
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "allocator"}, Spec: spec}
		_, err := r.admin.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	found := 0
	for _, name := range []string{"plain", "secret"} {
		for _, o := range objectsOf(t, "testdata/"+name+".golden.yaml") {
			if o.Kind != "Deployment" {
				continue
			}
			found++
			var d appsv1.Deployment
			must(t, yaml.Unmarshal([]byte(o.Text), &d))
			must(t, try(d.Spec.Template.Spec))
			d.Spec.Template.Spec.SecurityContext.SeccompProfile = nil
			if err := try(d.Spec.Template.Spec); !apierrors.IsForbidden(err) {
				t.Errorf("a pod without a seccomp profile: got %v, want a refusal", err)
			}
		}
	}
	if found != 2 {
		t.Errorf("found %d Deployments, want 2", found)
	}
}
