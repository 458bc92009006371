package auth

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Right is one thing that the allocator itself does in the API server.
type Right struct {
	Verb, Group, Resource string
	// Name is the one object it is for; empty for all.
	Name string
	// Namespace is where; empty for the whole cluster.
	Namespace string
}

// String describes the right as kubectl auth can-i would.
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

// Has reports whether this process has a right. The API server lets everybody ask
// that about themselves.
func (k Kubernetes) Has(ctx context.Context, r Right) (bool, error) {
	review, err := k.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Name: r.Name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("reviewing the right to %v: %w", r, err)
	}
	return review.Status.Allowed, nil
}
