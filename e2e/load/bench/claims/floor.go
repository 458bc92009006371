package claims

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/shared/api"
)

// floor makes the calls of a first claim that no allocator could do without.
type floor struct {
	*site.Site
	callers int
	// reviews and objects are two clients, as the allocator has them.
	reviews, objects kubernetes.Interface
	// claim and port are Leases that an allocator has written, without a name. They are
	// labeled as nobody's, so that no allocator watches the copies.
	claim, port *coordinationv1.Lease
}

const kindLabel = "portlease.dev/kind"

// newFloor copies the Leases of a claim.
func newFloor(ctx context.Context, s *site.Site, like api.Claim, callers int) (f *floor, err error) {
	f = &floor{Site: s, callers: callers}
	for _, client := range []*kubernetes.Interface{&f.reviews, &f.objects} {
		rights := rest.CopyConfig(s.Rights)
		rights.QPS = -1
		if *client, err = kubernetes.NewForConfig(rights); err != nil {
			return nil, fmt.Errorf("making a client of the floor: %w", err)
		}
	}
	if f.claim, err = f.copyOf(ctx, ledger.ClaimName(like.PodUID)); err != nil {
		return nil, err
	}
	f.port, err = f.copyOf(ctx, like.Ports[0].Fence.Lease)
	return f, err
}

func (f *floor) copyOf(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	l, err := f.Objects.CoordinationV1().Leases(f.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading a Lease to copy: %w", err)
	}
	labels := map[string]string{}
	for key, value := range l.Labels {
		if key == kindLabel {
			key = "bench." + key
		}
		labels[key] = value
	}
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: l.Annotations}, Spec: l.Spec}, nil
}

// warm makes a round that nobody measures.
func (f *floor) warm(ctx context.Context, pods []*site.Pod) error {
	_, err := f.round(ctx, pods)
	return err
}

// round makes the calls for all pods and then deletes the Leases.
func (f *floor) round(ctx context.Context, pods []*site.Pod) (timing, error) {
	if err := f.NewTokens(ctx, pods); err != nil {
		return timing{}, err
	}
	t, err := race(ctx, f.callers, len(pods), func(ctx context.Context, _, pod int) error { return f.calls(ctx, pods[pod]) })
	if err != nil {
		return t, err
	}
	leases := f.Objects.CoordinationV1().Leases(f.Namespace)
	return t, site.Each(ctx, len(pods), func(ctx context.Context, i int) error {
		for _, prefix := range []string{claimPrefix, portPrefix} {
			if err := leases.Delete(ctx, prefix+pods[i].UID, metav1.DeleteOptions{}); err != nil {
				return fmt.Errorf("deleting the Leases of the floor: %w", err)
			}
		}
		return nil
	})
}

const (
	claimPrefix = "floor-claim-"
	portPrefix  = "floor-port-"
)

// calls makes the four calls of one claim. Each needs the answer to the one before.
func (f *floor) calls(ctx context.Context, p *site.Pod) error {
	review, err := f.reviews.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: p.Token, Audiences: []string{api.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("reviewing a token: %w", err)
	}
	if !review.Status.Authenticated {
		return fmt.Errorf("the token of %s is not valid: %s", p.Name, review.Status.Error)
	}
	pod, err := f.objects.CoreV1().Pods(f.Games).Get(ctx, p.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading a pod: %w", err)
	}
	if string(pod.UID) != p.UID {
		return fmt.Errorf("pod %s has another UID", p.Name)
	}
	for prefix, like := range map[string]*coordinationv1.Lease{claimPrefix: f.claim, portPrefix: f.port} {
		l := like.DeepCopy()
		l.Name = prefix + p.UID
		if _, err := f.objects.CoordinationV1().Leases(f.Namespace).Create(ctx, l, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating a Lease: %w", err)
		}
	}
	return nil
}
