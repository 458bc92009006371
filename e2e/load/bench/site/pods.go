package site

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api"
)

// tokenTTL is longer than any part of a benchmark.
const tokenTTL = 2 * time.Hour

// serviceAccount is that of all pods.
const serviceAccount = "game"

// Pod is a running pod without an agent.
type Pod struct {
	Name, UID, IP string
	// Token is the pod's for the allocator; empty before NewTokens.
	Token string
}

// Each calls do for 0 to n-1, many at a time, and stops at the first error.
func Each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// MakePods makes running pods.
func (s *Site) MakePods(ctx context.Context, prefix string, count int) ([]*Pod, error) {
	pods := make([]*Pod, count)
	for i := range pods {
		pods[i] = &Pod{Name: fmt.Sprintf("%s-%d", prefix, i), IP: s.nextIP()}
	}
	return pods, Each(ctx, count, func(ctx context.Context, i int) error { return s.make(ctx, pods[i]) })
}

// nextIP gives an IP that no other pod has. Nothing is ever sent to it.
func (s *Site) nextIP() string {
	s.addresses++
	return netip.AddrFrom4([4]byte{10, byte(s.addresses >> 16), byte(s.addresses >> 8), byte(s.addresses)}).String()
}

func (s *Site) make(ctx context.Context, p *Pod) error {
	made, err := s.Objects.CoreV1().Pods(s.Games).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name},
		Spec: corev1.PodSpec{
			NodeName: kubeapi.Node, ServiceAccountName: serviceAccount, Containers: []corev1.Container{{Name: "game", Image: "game"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making pod %s: %w", p.Name, err)
	}
	p.UID = string(made.UID)
	made.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: p.IP, PodIPs: []corev1.PodIP{{IP: p.IP}}}
	if _, err := s.Objects.CoreV1().Pods(s.Games).UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("running pod %s: %w", p.Name, err)
	}
	return nil
}

// NewTokens gives each pod a token that nobody has reviewed yet.
func (s *Site) NewTokens(ctx context.Context, pods []*Pod) error {
	return Each(ctx, len(pods), func(ctx context.Context, i int) error {
		p := pods[i]
		made, err := s.Objects.CoreV1().ServiceAccounts(s.Games).CreateToken(ctx, serviceAccount, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{
				Audiences: []string{api.Audience}, ExpirationSeconds: new(int64(tokenTTL / time.Second)),
				BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: types.UID(p.UID)},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("requesting the token of pod %s: %w", p.Name, err)
		}
		p.Token = made.Status.Token
		return nil
	})
}
