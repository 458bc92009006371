package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Extra keys of a pod-bound token (KEP-1205, KEP-4193).
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// retryAfter is when callers should retry after the API server failed.
const retryAfter = time.Second

// Kubernetes is the Reviewer that asks the API server.
type Kubernetes struct {
	Client kubernetes.Interface
	// Namespace of the allocator, where admins need rights on Leases.
	Namespace string
	// GetPod is a consistent read of one pod; nil if there is none.
	GetPod func(ctx context.Context, namespace, name string) (*ledger.Pod, error)
}

// ReviewPod implements Reviewer.
func (k Kubernetes) ReviewPod(ctx context.Context, token string) (Caller, error) {
	c, err := k.reviewToken(ctx, token, api.Audience)
	if err != nil {
		return Caller{}, err
	}
	namespace, isServiceAccount := serviceAccountNamespace(c.User)
	if !isServiceAccount || len(c.Extra[extraPodName]) != 1 || len(c.Extra[extraPodUID]) != 1 {
		return Caller{}, api.Errorf(api.Forbidden, "the token of %s is not bound to a pod: mount a projected serviceAccountToken with audience %q", c.User, api.Audience)
	}
	// Nobody asks what else a pod may do, and thousands of these are cached.
	return Caller{Namespace: namespace, Pod: c.Extra[extraPodName][0], PodUID: c.Extra[extraPodUID][0]}, nil
}

// ReviewAdmin implements Reviewer.
func (k Kubernetes) ReviewAdmin(ctx context.Context, token string) (Caller, error) {
	return k.reviewToken(ctx, token, api.AdminAudience)
}

// remedies say how to get a token of an audience.
var remedies = map[string]string{
	api.Audience:      ": mount a projected serviceAccountToken",
	api.AdminAudience: ": kubectl create token NAME --audience " + api.AdminAudience,
}

// reviewToken creates a TokenReview.
func (k Kubernetes) reviewToken(ctx context.Context, token, audience string) (Caller, error) {
	r, err := k.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Caller{}, unavailable(fmt.Errorf("creating a TokenReview: %w", err))
	}
	// An authenticator that does not know audiences leaves status.audiences empty;
	// such a token must not count (TokenReview API, status.audiences).
	if !r.Status.Authenticated || !slices.Contains(r.Status.Audiences, audience) {
		return Caller{}, api.Errorf(api.Unauthenticated, "the token is not valid here: it must be unexpired, of this cluster, and made for audience %q%s", audience, remedies[audience])
	}
	c := Caller{User: r.Status.User.Username, UID: r.Status.User.UID, Groups: r.Status.User.Groups, Extra: make(map[string][]string)}
	for key, values := range r.Status.User.Extra {
		c.Extra[key] = values
	}
	return c, nil
}

// Authorize implements Reviewer.
func (k Kubernetes) Authorize(ctx context.Context, c Caller, verb string) error {
	extra := make(map[string]authorizationv1.ExtraValue, len(c.Extra))
	for key, values := range c.Extra {
		extra[key] = values
	}
	r, err := k.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: c.User, UID: c.UID, Groups: c.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: k.Namespace, Verb: verb, Group: "coordination.k8s.io", Resource: "leases"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return unavailable(fmt.Errorf("creating a SubjectAccessReview: %w", err))
	}
	if !r.Status.Allowed {
		return api.Errorf(api.Forbidden, "%s may not %s leases in namespace %s: grant it with a Role", c.User, verb, k.Namespace)
	}
	return nil
}

// CheckAlive implements Reviewer. A token of a deleted pod may still pass a review:
// the API server caches tokens and learns late that their pods are gone.
func (k Kubernetes) CheckAlive(ctx context.Context, c Caller) error {
	pod, err := k.GetPod(ctx, c.Namespace, c.Pod)
	if errors.Is(err, ledger.ErrPodForbidden) {
		return api.Errorf(api.Forbidden, "portlease serves no pods of namespace %s: list it under games in the chart's values", c.Namespace).WithCause(err)
	}
	if err != nil {
		return unavailable(err)
	}
	if ledger.Gone(pod, c.PodUID) {
		return api.Errorf(api.Forbidden, "pod %s/%s with UID %s is gone or has ended", c.Namespace, c.Pod, c.PodUID)
	}
	return nil
}

func unavailable(err error) error {
	return api.Errorf(api.Unavailable, "a call to the Kubernetes API failed; retry").WithRetryAfter(retryAfter).WithCause(err)
}

// serviceAccountNamespace gives the namespace of system:serviceaccount:namespace:name.
func serviceAccountNamespace(user string) (namespace string, ok bool) {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return "", false
	}
	namespace, _, ok = strings.Cut(rest, ":")
	return namespace, ok
}
