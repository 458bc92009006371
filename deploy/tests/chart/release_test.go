package chart_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
)

// release is the chart, installed into the API server.
type release struct {
	*testing.T
	helm             *chart.Helm
	admin            kubernetes.Interface
	namespace, games string
	values           string // path
}

func newRelease(t *testing.T) *release {
	t.Helper()
	r := &release{T: t, values: filepath.Join(t.TempDir(), "values.yaml")}
	var err error
	r.namespace, err = cluster.Namespace(t.Context(), "portlease")
	must(t, err)
	r.games, err = cluster.Namespace(t.Context(), "games")
	must(t, err)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, cluster.Kubeconfig(kubeconfig, cluster.AdminConfig()))
	r.helm, err = chart.Build(t.Context(), os.Stderr, t.TempDir(), kubeconfig)
	must(t, err)
	r.admin = r.as("")
	r.writeValues("")
	r.must(r.run("install", chart.Folder(), "--values", r.values))
	t.Cleanup(func() {
		if !t.Failed() {
			return // each test uninstalls
		}
		if _, err := r.helm.Run(context.WithoutCancel(t.Context()), "uninstall", chart.Release, "--namespace", r.namespace, "--no-hooks"); err != nil {
			t.Log(err)
		}
	})
	return r
}

// writeValues writes the values file.
func (r *release) writeValues(more string) {
	r.Helper()
	text := fmt.Sprintf(`
pools: {pools: [{name: default, loadBalancerTags: {team: games}, listenerPorts: ["30000-30049"]}]}
games: [{namespace: %s, serviceAccounts: [game]}]
%s`, r.games, more)
	must(r.T, os.WriteFile(r.values, []byte(text), 0o600))
}

// run runs a Helm command for the release.
func (r *release) run(command string, arguments ...string) (string, error) {
	return r.helm.Run(r.Context(), append([]string{command, chart.Release, "--namespace", r.namespace}, arguments...)...)
}

func (r *release) must(out string, err error) string {
	r.Helper()
	must(r.T, err)
	return out
}

// status returns the release's status in Helm.
func (r *release) status() string {
	r.Helper()
	var s struct{ Info struct{ Status string } }
	must(r.T, json.Unmarshal([]byte(r.must(r.run("status", "--output", "json"))), &s))
	return s.Info.Status
}

// as returns a client of that user, or of the administrator if it is empty.
func (r *release) as(user string) kubernetes.Interface {
	r.Helper()
	config := rest.CopyConfig(cluster.AdminConfig())
	config.Impersonate.UserName = user
	if user != "" {
		config.Impersonate.Groups = []string{"system:masters"} // RBAC is not tested here
	}
	client, err := kubernetes.NewForConfig(config)
	must(r.T, err)
	return client
}

// lease creates a port lease in that state.
func (r *release) lease(name, state string) {
	r.Helper()
	l := &coordinationv1.Lease{}
	l.Name, l.Labels = name, map[string]string{"portlease.dev/kind": "port", "portlease.dev/state": state}
	_, err := r.admin.CoordinationV1().Leases(r.namespace).Create(r.Context(), l, metav1.CreateOptions{})
	must(r.T, err)
}

// eventually polls until there is no error.
func (r *release) eventually(what string, condition func() error) {
	r.Helper()
	must(r.T, kubeapi.Eventually(r.Context(), time.Minute, what, condition))
}

// waitUntilProtected waits until the policy protects a lease: it takes effect some
// moments after its installation.
func (r *release) waitUntilProtected(lease string) {
	r.Helper()
	r.eventually("the policy to take effect", func() error {
		err := r.admin.CoordinationV1().Leases(r.namespace).Delete(r.Context(), lease, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) {
			return errors.Join(errors.New("the deletion is allowed"), err)
		}
		return nil
	})
}

// markHeld creates or deletes Lease portlease-held, as the allocator does.
func (r *release) markHeld(held bool) {
	r.Helper()
	allocator := r.as("system:serviceaccount:" + r.namespace + ":portlease-allocator")
	must(r.T, kubelease.MarkHeld(r.Context(), allocator, r.namespace, held))
}

// installed lists the chart's objects in the cluster, by their label.
func (r *release) installed() (names []string) {
	r.Helper()
	ctx, of := r.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=Helm,app.kubernetes.io/instance=" + chart.Release}
	add := func(kind string, items []metav1.PartialObjectMetadata) {
		for _, i := range items {
			names = append(names, kind+"/"+i.Name)
		}
	}
	for _, resource := range []string{
		"deployments.v1.apps", "poddisruptionbudgets.v1.policy", "networkpolicies.v1.networking.k8s.io", "services.v1.", "serviceaccounts.v1.", "configmaps.v1.",
		"roles.v1.rbac.authorization.k8s.io", "rolebindings.v1.rbac.authorization.k8s.io", "clusterroles.v1.rbac.authorization.k8s.io",
		"clusterrolebindings.v1.rbac.authorization.k8s.io", "validatingadmissionpolicies.v1.admissionregistration.k8s.io",
		"validatingadmissionpolicybindings.v1.admissionregistration.k8s.io",
		"flowschemas.v1.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.v1.flowcontrol.apiserver.k8s.io",
	} {
		list, err := listed(ctx, resource, of)
		must(r.T, err)
		add(strings.SplitN(resource, ".", 2)[0], list)
	}
	return names
}

func TestInstallUpgradeUninstall(t *testing.T) {
	r := newRelease(t)
	installed := r.installed()
	for _, want := range []string{"deployments/portlease-allocator", "services/portlease-allocator", "configmaps/portlease-pools", "validatingadmissionpolicies/portlease-agent"} {
		if !strings.Contains(strings.Join(installed, " "), want) {
			t.Errorf("%s is not installed; installed are %v", want, installed)
		}
	}
	// Helm must not delete what the allocator created.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "portlease-tls"}, Data: map[string][]byte{"tls.key": []byte("k")}}
	_, err := r.admin.CoreV1().Secrets(r.namespace).Create(t.Context(), secret, metav1.CreateOptions{})
	must(t, err)
	r.lease("free", "free")

	more, err := cluster.Namespace(t.Context(), "more")
	must(t, err)
	previous := r.games
	r.games = more
	r.writeValues("allocator: {replicas: 3, settings: {claim-duration: 3m}}\n")
	r.must(r.run("upgrade", chart.Folder(), "--values", r.values))
	d, err := r.admin.AppsV1().Deployments(r.namespace).Get(t.Context(), "portlease-allocator", metav1.GetOptions{})
	must(t, err)
	set := make(map[string]string)
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		set[v.Name] = v.Value
	}
	if *d.Spec.Replicas != 3 || set["PORTLEASE_CLAIM_DURATION"] != "3m" || set["PORTLEASE_TRUST_NAMESPACES"] != more {
		t.Errorf("after the upgrade: %d replicas with the variables %v", *d.Spec.Replicas, set)
	}
	if _, err := r.admin.RbacV1().RoleBindings(more).Get(t.Context(), "portlease-agent", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := r.admin.RbacV1().RoleBindings(previous).Get(t.Context(), "portlease-agent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the RoleBinding in a namespace that was removed from games: got %v, want not found", err)
	}

	r.must(r.run("uninstall"))
	if left := r.installed(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, err := range []error{
		func() error {
			_, err := r.admin.CoreV1().Secrets(r.namespace).Get(t.Context(), "portlease-tls", metav1.GetOptions{})
			return err
		}(),
		func() error {
			_, err := r.admin.CoordinationV1().Leases(r.namespace).Get(t.Context(), "free", metav1.GetOptions{})
			return err
		}(),
	} {
		if err != nil {
			t.Errorf("uninstalling deleted what the allocator created: %v", err)
		}
	}
}

// TestUninstallIsRefusedWhilePortsAreHeld: the error names the override, nothing is
// removed, and Helm can go on with the release.
func TestUninstallIsRefusedWhilePortsAreHeld(t *testing.T) {
	r := newRelease(t)
	installed := r.installed()
	r.markHeld(true)
	r.waitUntilProtected(kubelease.HeldLease)
	for range 2 {
		_, err := r.run("uninstall")
		for _, word := range []string{"pods still hold ports", "Stop the game servers first", "helm uninstall --no-hooks " + chart.Release + " -n " + r.namespace} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("uninstalling: got %v, want %q", err, word)
			}
		}
		if left := r.installed(); !slices.Equal(left, installed) {
			t.Errorf("installed were %v, left are %v", installed, left)
		}
		if s := r.status(); s != "deployed" {
			t.Errorf("the release is %s, want deployed", s)
		}
		r.must(r.run("upgrade", chart.Folder(), "--values", r.values))
	}
	r.markHeld(false)
	r.must(r.run("uninstall"))
	if left := r.installed(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, err := r.admin.CoordinationV1().Leases(r.namespace).Get(t.Context(), kubelease.HeldLease, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("Lease %s: got %v, want not found", kubelease.HeldLease, err)
	}

	// Again in the same cluster, which has seen the policies before.
	r.must(r.run("install", chart.Folder(), "--values", r.values))
	r.markHeld(true)
	r.waitUntilProtected(kubelease.HeldLease)
	if _, err := r.run("uninstall"); err == nil || !strings.Contains(err.Error(), "pods still hold ports") {
		t.Errorf("uninstalling after a second installation: got %v, want a refusal", err)
	}
	r.must(r.run("uninstall", "--no-hooks"))
	if left := r.installed(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestNamespaceIsProtectedWhileInstalled checks that the policy protects the
// allocator's namespace, and leaves the namespaces of games alone.
func TestNamespaceIsProtectedWhileInstalled(t *testing.T) {
	r := newRelease(t)
	remove := func(namespace string) error {
		return r.admin.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}
	r.eventually("the policy to take effect", func() error {
		if err := remove(r.namespace); !apierrors.IsForbidden(err) {
			return errors.Join(errors.New("the deletion is allowed"), err)
		}
		return nil
	})
	want := "kubectl annotate namespace " + r.namespace + " portlease.dev/abandon=true"
	if err := remove(r.namespace); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("deleting the namespace: got %v, want %q", err, want)
	}
	must(t, remove(r.games))
	_, err := r.admin.CoreV1().Namespaces().Patch(t.Context(), r.namespace, types.MergePatchType, []byte(`{"metadata":{"annotations":{"portlease.dev/abandon":"true"}}}`), metav1.PatchOptions{})
	must(t, err, remove(r.namespace))
	r.must(r.run("uninstall"))
}
