package kubeapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// fieldOwner is the field manager of everything that Apply applies.
const fieldOwner = "kubeapi"

// serviceAccountName is the service account of pods that do not name one.
const serviceAccountName = "default"

// Namespace creates a namespace whose name begins with prefix. It also creates the default
// service account, because pods need one. Nobody needs to delete the namespace.
func (a *API) Namespace(ctx context.Context, prefix string) (name string, err error) {
	namespace, err := a.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making a namespace: %w", err)
	}
	return namespace.Name, a.makeServiceAccount(ctx, namespace.Name, serviceAccountName)
}

// Apply applies manifests by server-side apply, in order, and takes over fields that
// others own. Each manifest has one or more YAML documents. Namespaced objects without a
// namespace go to "default". A namespace also gets its default service account. Apply
// stops at the first error, which names the object. Admission policies take effect a
// moment after they are applied, so poll for them.
func (a *API) Apply(ctx context.Context, manifests ...[]byte) error {
	return a.apply(ctx, manifests, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true})
}

// Try is Apply as a dry run: the API server validates and admits the objects but stores
// nothing (Kubernetes, "API Concepts", dry-run).
func (a *API) Try(ctx context.Context, manifests ...[]byte) error {
	return a.apply(ctx, manifests, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true, DryRun: []string{metav1.DryRunAll}})
}

func (a *API) apply(ctx context.Context, manifests [][]byte, options metav1.ApplyOptions) error {
	for _, manifest := range manifests {
		documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
		for {
			var object unstructured.Unstructured
			if err := documents.Decode(&object.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("reading a manifest: %w", err)
			}
			if len(object.Object) == 0 {
				continue // nothing but comments
			}
			if err := a.applyObject(ctx, &object, options); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *API) applyObject(ctx context.Context, object *unstructured.Unstructured, options metav1.ApplyOptions) error {
	if object.IsList() {
		return object.EachListItem(func(item runtime.Object) error {
			element, ok := item.(*unstructured.Unstructured)
			if !ok {
				return fmt.Errorf("applying a %s: it holds a %T", object.GetKind(), item)
			}
			return a.applyObject(ctx, element, options)
		})
	}
	kind := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("applying %s %s: %w", kind.Kind, object.GetName(), err)
	}
	var resource dynamic.ResourceInterface = a.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace := object.GetNamespace()
		if namespace == "" {
			namespace = metav1.NamespaceDefault
		}
		resource = a.dynamic.Resource(mapping.Resource).Namespace(namespace)
	}
	if _, err := resource.Apply(ctx, object.GetName(), object, options); err != nil {
		return fmt.Errorf("applying %s %s: %w", kind.Kind, object.GetName(), err)
	}
	if len(options.DryRun) == 0 && kind.GroupKind() == (corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind()) {
		return a.makeServiceAccount(ctx, object.GetName(), serviceAccountName)
	}
	return nil
}

// createDefaults creates what pods need in a new cluster: the fake node, and the default
// service account of the namespace "default".
func (a *API) createDefaults(ctx context.Context) error {
	node, err := a.client.CoreV1().Nodes().Create(ctx,
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Node}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making the fake node: %w", err)
	}
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake", LastTransitionTime: metav1.Now(),
	}}
	if _, err := a.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("making the fake node ready: %w", err)
	}
	return a.makeServiceAccount(ctx, metav1.NamespaceDefault, serviceAccountName)
}
