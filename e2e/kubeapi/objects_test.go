package kubeapi

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLeaseCompareAndSwap(t *testing.T) {
	leases := shared.client.CoordinationV1().Leases(newNamespace(t))
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "port"}}
	read, err := leases.Create(t.Context(), lease, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Create(t.Context(), lease, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v, want AlreadyExists", err)
	}
	const contenders = 8
	results := make([]error, contenders)
	var all sync.WaitGroup
	for i := range contenders {
		all.Go(func() {
			mine := read.DeepCopy()
			mine.Spec.HolderIdentity = new(fmt.Sprint(i))
			_, results[i] = leases.Update(t.Context(), mine, metav1.UpdateOptions{})
		})
	}
	all.Wait()
	winners := 0
	for _, err := range results {
		if err == nil {
			winners++
		} else if !apierrors.IsConflict(err) {
			t.Errorf("update: %v, want Conflict", err)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d updates of the same version succeeded, want 1", winners, contenders)
	}
}

func TestNamespaceAcceptsPods(t *testing.T) {
	first, second := newNamespace(t), newNamespace(t)
	if first == second {
		t.Fatalf("namespace %s twice", first)
	}
	for _, namespace := range []string{first, second, metav1.NamespaceDefault} {
		pod, err := shared.CreatePod(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game"}})
		if err != nil {
			t.Fatal(err)
		}
		if pod.Spec.ServiceAccountName != serviceAccountName {
			t.Errorf("service account %q, want %q", pod.Spec.ServiceAccountName, serviceAccountName)
		}
		if err := shared.RemovePod(t.Context(), namespace, "game"); err != nil {
			t.Error(err)
		}
	}
}

func TestApply(t *testing.T) {
	applied := fmt.Sprintf("applied-%d", time.Now().UnixNano()) // a new name, even with -count
	manifest := fmt.Appendf(nil, `# A comment alone is a document too.
---
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: first, namespace: %[1]s}
  data: {key: old}
---
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "second"}}
`, applied)
	changed := []byte(strings.ReplaceAll(string(manifest), "key: old", "key: new"))
	if err := shared.Apply(t.Context(), manifest, changed); err != nil {
		t.Fatal(err)
	}
	first, err := shared.client.CoreV1().ConfigMaps(applied).Get(t.Context(), "first", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Data["key"] != "new" {
		t.Errorf("key is %q after the second Apply, want new", first.Data["key"])
	}
	if _, err := shared.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(t.Context(), "second", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := shared.CreatePod(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: applied, Name: "game"}}); err != nil {
		t.Errorf("an applied namespace takes no pods: %v", err)
	}
}

func TestApplyRefusesInvalidManifests(t *testing.T) {
	for name, manifest := range map[string]string{
		"no YAML":      "\tkind: ConfigMap",
		"unknown kind": "{apiVersion: portlease.dev/v1, kind: Nonsense, metadata: {name: it}}",
		"no name":      "{apiVersion: v1, kind: ConfigMap}",
		"wrong field":  "{apiVersion: v1, kind: ConfigMap, metadata: {name: it}, dota: {}}",
	} {
		t.Run(name, func(t *testing.T) {
			if err := shared.Apply(t.Context(), []byte(manifest)); err == nil {
				t.Error("Apply took it")
			}
		})
	}
}

func TestAppliedAdmissionPolicyIsEnforced(t *testing.T) {
	namespace := newNamespace(t)
	err := shared.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  validations:
  - {expression: "object.metadata.name != 'refused'", message: not this one}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
`, namespace))
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string) error {
		_, err := shared.client.CoreV1().ConfigMaps(namespace).Create(t.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	eventually(t, func() error {
		err := create("refused")
		if err == nil {
			return errors.New("the policy does not hold")
		}
		if !apierrors.IsInvalid(err) {
			t.Fatal(err)
		}
		return nil
	})
	if err := create("welcome"); err != nil {
		t.Error(err)
	}
}

func TestTryHasNoEffect(t *testing.T) {
	namespace := newNamespace(t)
	manifest := func(kind string) []byte {
		return []byte("apiVersion: v1\nkind: " + kind + "\nmetadata: {name: tried, namespace: " + namespace + "}\n")
	}
	if err := shared.Try(t.Context(), manifest("ConfigMap"), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: tried}\n")); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		func() error {
			_, err := shared.client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "tried", metav1.GetOptions{})
			return err
		}(),
		func() error {
			_, err := shared.client.CoreV1().Namespaces().Get(t.Context(), "tried", metav1.GetOptions{})
			return err
		}(),
	} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("it is there: %v", err)
		}
	}
	if err := shared.Try(t.Context(), manifest("Pod")); err == nil || !strings.Contains(err.Error(), "containers") {
		t.Errorf("a pod without containers: %v", err)
	}
}
