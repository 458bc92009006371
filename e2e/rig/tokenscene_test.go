package rig_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// bound creates a pod with a bound port and kills its agent, so that only the test
// makes calls for the pod.
func (s *tokenScene) bound(name string) target {
	s.Helper()
	p := newPod(s.T, s.Rig, name, "game=7777/UDP")
	must(s.T, p.WaitBound(s.Context()))
	must(s.T, p.Kill(s.Context()))
	token, err := s.Token(s.Context(), name)
	must(s.T, err)
	var g target
	must(s.T, rig.Eventually(s.Context(), name+" to show its binding", func() error {
		got, err := s.patiently("PUT", api.ClaimPath(s.Games, name), token, request(p, onePort))
		if err != nil {
			return err
		}
		g = target{pod: p}
		if err := json.Unmarshal([]byte(got.body), &g.claim); err != nil {
			return err
		}
		if len(g.claim.Ports) != 1 || g.port().ListenerARN == "" {
			return errors.New(got.body)
		}
		return nil
	}))
	return g
}

// staleToken is the token of an earlier pod and the present target at its path.
type staleToken struct {
	target
	token string
}

// removed creates a pod, removes it, and waits until the API server refuses its
// token. The pod never held a port, and the calls name its own resources.
func (s *tokenScene) removed(name string) staleToken {
	s.Helper()
	p, err := s.NewPod(s.Context(), name, "game=7777/UDP")
	must(s.T, err)
	token, err := s.Token(s.Context(), name)
	must(s.T, err)
	must(s.T, p.Remove(s.Context()))
	s.refused(token)
	return staleToken{target{p, unheld}, token}
}

// unheld is a claim that no pod has.
var unheld = api.Claim{
	UID: "none", LoadBalancer: api.LoadBalancer{ARN: "arn/none"},
	Ports: []api.ClaimedPort{{
		Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: 30000, Fence: api.Fence{Lease: "none-30000", Epoch: "e", Generation: 1},
		HealthCheck: api.HealthCheck{Protocol: "TCP"},
	}},
}

// recreated creates a pod, removes it, and creates another with the same name that
// holds a port. The token is the first pod's.
func (s *tokenScene) recreated(name string) staleToken {
	s.Helper()
	first := s.removed(name)
	return staleToken{s.bound(name), first.token}
}

// justRemoved creates a pod, makes the allocator review its token, and removes it.
// With back set, another pod takes its name at once. The calls name the claim of
// other.
func (s *tokenScene) justRemoved(name string, other target, back bool) (target, string) {
	s.Helper()
	p, err := s.NewPod(s.Context(), name, "game=7777/UDP")
	must(s.T, err)
	token, err := s.Token(s.Context(), name)
	must(s.T, err)
	got, err := s.patiently("DELETE", api.ClaimPath(s.Games, name)+"?claimUID=none", token, "")
	must(s.T, err)
	if got.status != http.StatusNoContent {
		s.Fatalf("%s: its own token was answered %d %s", name, got.status, got.body)
	}
	must(s.T, p.Remove(s.Context()))
	if back {
		_, err := s.NewPodAt(s.Context(), name, "game=7777/UDP", p.IP)
		must(s.T, err)
	}
	return target{p, other.claim}, token
}

// refused waits until the API server refuses a token, which it does some time after
// the pod is gone.
func (s *tokenScene) refused(token string) {
	s.Helper()
	must(s.T, rig.Eventually(s.Context(), "the token to be refused", func() error {
		review, err := s.Admin.AuthenticationV1().TokenReviews().Create(s.Context(), &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{api.Audience}},
		}, metav1.CreateOptions{})
		if err == nil && review.Status.Authenticated {
			err = errors.New("it is taken")
		}
		return err
	}))
}

func (s *tokenScene) at(token string, earlier time.Duration) string {
	s.Helper()
	moved, err := s.Kube.TokenAt(token, earlier)
	must(s.T, err)
	return moved
}

func (s *tokenScene) token(namespace, pod, audience string) string {
	s.Helper()
	token, err := s.Kube.PodToken(s.Context(), namespace, pod, audience, time.Hour)
	must(s.T, err)
	return token
}

func (s *tokenScene) otherNamespace() string {
	s.Helper()
	var err error
	s.elsewhere, err = s.Kube.Namespace(s.Context(), "elsewhere")
	must(s.T, err)
	return s.elsewhere
}

func (s *tokenScene) pod(namespace, name string) string {
	s.Helper()
	_, err := s.Kube.CreatePod(s.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	must(s.T, err)
	return name
}

func (s *tokenScene) node() *authenticationv1.BoundObjectReference {
	return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: kubeapi.Node}
}

// account gives a token of the games' service account that is bound to no pod.
func (s *tokenScene) account(audience string, bound *authenticationv1.BoundObjectReference) string {
	s.Helper()
	spec := authenticationv1.TokenRequestSpec{BoundObjectRef: bound}
	if audience != "" {
		spec.Audiences = []string{audience}
	}
	request, err := s.Admin.CoreV1().ServiceAccounts(s.Games).CreateToken(s.Context(), "game", &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	must(s.T, err)
	return request.Status.Token
}

// viewer gives a token that may list Leases but not change them.
func (s *tokenScene) viewer() string {
	s.Helper()
	must(s.T, s.Kube.Apply(s.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: viewer, namespace: %[1]s}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: viewer}
subjects:
- {kind: ServiceAccount, name: viewer, namespace: %[1]s}
`, s.Namespace)))
	_, err := s.Kube.ServiceAccount(s.Context(), s.Namespace, "viewer")
	must(s.T, err)
	token, err := s.AdminTokenOf(s.Context(), "viewer")
	must(s.T, err)
	must(s.T, rig.Eventually(s.Context(), "the viewer's right", func() error {
		got, err := s.patiently("GET", api.PathPools, token, "")
		if err == nil && got.status != http.StatusOK {
			err = errors.New(got.body)
		}
		return err
	}))
	return token
}

// allocators gives the token by which the allocator itself calls the API server.
func (s *tokenScene) allocators() string {
	s.Helper()
	rights, err := s.Kube.ServiceAccount(s.Context(), s.Namespace, "portlease-allocator")
	must(s.T, err)
	return rights.BearerToken
}

// forged changes the signature of a token.
func forged(token string) string {
	at := strings.LastIndexByte(token, '.') + 10
	return token[:at] + strings.Repeat("A", len(token)-at)
}

// unsigned changes a token to the algorithm "none", which needs no signature (RFC
// 7519, section 6).
func unsigned(token string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + strings.Split(token, ".")[1] + "."
}
