// Package kubepod asks the API server who calls and whether a pod still lives.
//
// It reads one pod at a time and keeps nothing: nobody here watches pods.
package kubepod

import (
	"context"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Extra keys of a pod-bound token (KEP-1205, KEP-4193).
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// Door is the way to the API server for everything about pods and callers.
type Door struct {
	kube kubernetes.Interface
	// namespace of the allocator; rights of people are asked for there.
	namespace string
}

// New makes a Door.
func New(kube kubernetes.Interface, namespace string) *Door { return &Door{kube, namespace} }

// Get is a consistent read of one pod; nil if there is none.
func (d *Door) Get(ctx context.Context, namespace, name string) (*ledger.Pod, error) {
	p, err := d.kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // no pod is an answer, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	pod := &ledger.Pod{
		UID: string(p.UID), HostNetwork: p.Spec.HostNetwork,
		Terminal: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	for _, ip := range p.Status.PodIPs {
		pod.IPs = append(pod.IPs, ip.IP)
	}
	return pod, nil
}

// Alive refuses a caller whose very pod is gone or has ended, by a consistent
// read: its token may still review well, because the API server remembers tokens
// for a while and learns late that their pods are gone.
func (d *Door) Alive(ctx context.Context, c Caller) error {
	pod, err := d.Get(ctx, c.Namespace, c.Pod)
	if err != nil {
		return unavailable(err)
	}
	if ledger.Gone(pod, c.PodUID) {
		return api.Errorf(api.Forbidden, "pod %s/%s with UID %s is gone or has ended", c.Namespace, c.Pod, c.PodUID)
	}
	return nil
}

// retryAfter is when to ask again while the API server does not answer.
const retryAfter = time.Second

func unavailable(err error) error {
	return api.Errorf(api.Unavailable, "a call to the Kubernetes API failed; retry").WithRetryAfter(retryAfter).WithCause(err)
}

// Caller is who a token belongs to.
type Caller struct {
	// Namespace, Pod and PodUID are set for a token that is bound to a pod and
	// made for api.Audience.
	Namespace, Pod, PodUID string
	// User, UID, Groups and Extra are what a right is asked for with.
	User, UID string
	Groups    []string
	Extra     map[string][]string
}

// ReviewPod asks whose pod-bound token this is; api.Unauthenticated if it is
// none for api.Audience.
func (d *Door) ReviewPod(ctx context.Context, token string) (Caller, error) {
	c, err := d.review(ctx, token, []string{api.Audience})
	if err != nil {
		return c, err
	}
	namespace, ok := serviceAccountNamespace(c.User)
	if !ok || len(c.Extra[extraPodName]) != 1 || len(c.Extra[extraPodUID]) != 1 {
		return c, api.Errorf(api.Forbidden, "the token of %s is not bound to a pod: mount a projected serviceAccountToken with audience %q", c.User, api.Audience)
	}
	c.Namespace, c.Pod, c.PodUID = namespace, c.Extra[extraPodName][0], c.Extra[extraPodUID][0]
	return c, nil
}

// ReviewPerson asks whose token this is, of any audience the API server itself
// accepts.
func (d *Door) ReviewPerson(ctx context.Context, token string) (Caller, error) {
	return d.review(ctx, token, nil)
}

func (d *Door) review(ctx context.Context, token string, audiences []string) (Caller, error) {
	r, err := d.kube.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		return Caller{}, unavailable(fmt.Errorf("reviewing the token: %w", err))
	}
	// An authenticator that knows no audiences answers none, which must not count
	// (TokenReview API, status.audiences).
	if !r.Status.Authenticated || len(audiences) > 0 && !slices.Contains(r.Status.Audiences, api.Audience) {
		made := "the API server, as kubectl create token makes it"
		if len(audiences) > 0 {
			made = fmt.Sprintf("audience %q", api.Audience)
		}
		return Caller{}, api.Errorf(api.Unauthenticated, "the token is not valid here: it must be unexpired, of this cluster, and made for %s", made)
	}
	c := Caller{User: r.Status.User.Username, UID: r.Status.User.UID, Groups: r.Status.User.Groups, Extra: make(map[string][]string)}
	for k, v := range r.Status.User.Extra {
		c.Extra[k] = v
	}
	return c, nil
}

// Allowed asks whether a person may do verb on the Leases of the allocator's
// namespace, which is what the right to see or change ports is.
func (d *Door) Allowed(ctx context.Context, c Caller, verb string) error {
	extra := make(map[string]authorizationv1.ExtraValue, len(c.Extra))
	for k, v := range c.Extra {
		extra[k] = v
	}
	r, err := d.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: c.User, UID: c.UID, Groups: c.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: d.namespace, Verb: verb, Group: "coordination.k8s.io", Resource: "leases"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return unavailable(fmt.Errorf("reviewing the right to %s leases: %w", verb, err))
	}
	if !r.Status.Allowed {
		return api.Errorf(api.Forbidden, "%s may not %s leases in namespace %s: have it granted by a Role", c.User, verb, d.namespace)
	}
	return nil
}

// Warn leaves an event on a pod for people who look at it.
func (d *Door) Warn(ctx context.Context, namespace, pod, uid, reason, message string) error {
	now := metav1.Now()
	_, err := d.kube.CoreV1().Events(namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: pod + ".", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod, UID: types.UID(uid)},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message,
		Source: corev1.EventSource{Component: "portlease-allocator"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("writing an event on pod %s/%s: %w", namespace, pod, err)
	}
	return nil
}

func serviceAccountNamespace(user string) (string, bool) {
	const prefix = "system:serviceaccount:"
	if len(user) <= len(prefix) || user[:len(prefix)] != prefix {
		return "", false
	}
	for i := len(prefix); i < len(user); i++ {
		if user[i] == ':' {
			return user[len(prefix):i], true
		}
	}
	return "", false
}
