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

// fieldOwner is who the API server says has set what Apply applied.
const fieldOwner = "kubeapi"

// serviceAccountName is the service account of pods that name none.
const serviceAccountName = "default"

// Namespace makes a fresh namespace whose name begins with prefix, and in it
// the default service account, without which no pod could be created. Nobody
// needs to delete it.
func (a *API) Namespace(ctx context.Context, prefix string) (name string, err error) {
	namespace, err := a.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making a namespace: %w", err)
	}
	return namespace.Name, a.makeServiceAccount(ctx, namespace.Name, serviceAccountName)
}

// Apply applies manifests, each one or several YAML documents, in their order
// by server-side apply, and takes over fields that somebody else has set.
// Objects that name no namespace and need one go to "default". A namespace
// gets its default service account with it. Apply stops at the first error,
// which names the object. Admission policies begin to hold a little after they
// are applied: poll for them.
func (a *API) Apply(ctx context.Context, manifests ...[]byte) error {
	return a.apply(ctx, manifests, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true})
}

// Try is Apply without any effect: the API server decides whether it would take the
// objects, their admission included (Kubernetes, "API Concepts", dry-run).
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

// furnish makes what pods need in a cluster that nobody has used: the fake
// node, and the default service account of the namespace "default".
func (a *API) furnish(ctx context.Context) error {
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
