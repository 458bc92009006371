package kubepod

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/kubetrust"
)

// Right is one thing that the allocator does in the API server.
type Right struct {
	Verb, Group, Resource string
	// Name is the one object it is for; empty for all.
	Name string
	// Namespace is where; empty for all of the cluster.
	Namespace string
}

// String is the right in a person's words.
func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Namespace != "" {
		return text + " in " + r.Namespace
	}
	return text
}

// Rights are all that the allocator needs, those that the chart grants. secret is the
// one where the replicas keep their certificates, empty if they keep none; trusting
// are the namespaces where callers are told whom to trust.
func (d *Door) Rights(secret string, trusting []string) []Right {
	all := []Right{
		{Verb: "get", Resource: "pods"},
		{Verb: "create", Resource: "events"},
		{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
		{Verb: "get", Resource: "namespaces", Name: metav1.NamespaceSystem},
	}
	for _, verb := range []string{"get", "list", "watch", "create", "update", "delete"} {
		all = append(all, Right{Verb: verb, Group: "coordination.k8s.io", Resource: "leases", Namespace: d.namespace})
	}
	if secret != "" {
		all = append(all, kept("secrets", secret, d.namespace)...)
	}
	for _, namespace := range trusting {
		all = append(all, kept("configmaps", kubetrust.ConfigMap, namespace)...)
	}
	return all
}

// kept are the rights to one object that is made if it is not there. RBAC cannot
// limit create to a name.
func kept(resource, name, namespace string) []Right {
	return []Right{
		{Verb: "create", Resource: resource, Namespace: namespace},
		{Verb: "get", Resource: resource, Name: name, Namespace: namespace},
		{Verb: "update", Resource: resource, Name: name, Namespace: namespace},
	}
}

// Has asks whether this process has a right. Everybody may ask that of himself.
func (d *Door) Has(ctx context.Context, r Right) (bool, error) {
	review, err := d.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Name: r.Name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking for the right to %v: %w", r, err)
	}
	return review.Status.Allowed, nil
}
