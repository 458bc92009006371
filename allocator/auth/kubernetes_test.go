package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

var errAPIServer = errors.New("dial tcp 10.96.0.1:443: connection refused")

// apiServer answers the requests of client-go with what no real API server answers.
type apiServer func(created runtime.Object) (runtime.Object, error)

// RoundTrip implements http.RoundTripper.
func (s apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var created runtime.Object = new(authenticationv1.TokenReview)
	if strings.HasSuffix(r.URL.Path, "/subjectaccessreviews") {
		created = new(authorizationv1.SubjectAccessReview)
	}
	if err := json.NewDecoder(r.Body).Decode(created); err != nil {
		return nil, err
	}
	answer, err := s(created)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
}

func answering(t *testing.T, server apiServer) auth.Kubernetes {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://kubernetes.invalid", Transport: server, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}})
	if err != nil {
		t.Fatal(err)
	}
	return auth.Kubernetes{Client: client, Namespace: "portlease"}
}

func podUser(name string, uid ...string) authenticationv1.UserInfo {
	return authenticationv1.UserInfo{Username: name, Extra: map[string]authenticationv1.ExtraValue{
		"authentication.kubernetes.io/pod-name": {"game-0"}, "authentication.kubernetes.io/pod-uid": uid,
	}}
}

func TestPodTokenMustBeBoundAndForTheAudience(t *testing.T) {
	const user = "system:serviceaccount:games:default"
	for name, test := range map[string]struct {
		status authenticationv1.TokenReviewStatus
		want   api.Code // empty: accepted
	}{
		"valid":             {authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{api.Audience}, User: podUser(user, "uid-0")}, ""},
		"not authenticated": {authenticationv1.TokenReviewStatus{Audiences: []string{api.Audience}, User: podUser(user, "uid-0")}, api.Unauthenticated},
		"no audience":       {authenticationv1.TokenReviewStatus{Authenticated: true, User: podUser(user, "uid-0")}, api.Unauthenticated},
		"another audience":  {authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"vault"}, User: podUser(user, "uid-0")}, api.Unauthenticated},
		"no pod":            {authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{api.Audience}, User: authenticationv1.UserInfo{Username: user}}, api.Forbidden},
		"two pods":          {authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{api.Audience}, User: podUser(user, "uid-0", "uid-1")}, api.Forbidden},
		"no serviceaccount": {authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{api.Audience}, User: podUser("system:node:games", "uid-0")}, api.Forbidden},
		"no namespace":      {authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{api.Audience}, User: podUser("system:serviceaccount:games", "uid-0")}, api.Forbidden},
	} {
		k := answering(t, func(created runtime.Object) (runtime.Object, error) {
			spec := created.(*authenticationv1.TokenReview).Spec
			if spec.Token != "token" || !slices.Equal(spec.Audiences, []string{api.Audience}) {
				t.Errorf("%s: reviewed %+v", name, spec)
			}
			return &authenticationv1.TokenReview{Status: test.status}, nil
		})
		c, err := k.ReviewPod(t.Context(), "token")
		if test.want == "" {
			// It has nothing else, because thousands of them are kept.
			if diff := cmp.Diff(auth.Caller{Namespace: "games", Pod: "game-0", PodUID: "uid-0"}, c); err != nil || diff != "" {
				t.Errorf("%s: got %v; want -, got +:\n%s", name, err, diff)
			}
			continue
		}
		if p, ok := errors.AsType[*api.Problem](err); !ok || p.Code != test.want || !auth.Rejected(err) || c.Pod != "" {
			t.Errorf("%s: got %+v, %v, want %s", name, c, err, test.want)
		}
	}
}

// TestAdminTokenMustBeForTheAdminAudience: a token that was made for something else, such
// as the API server, could be sent on to it.
func TestAdminTokenMustBeForTheAdminAudience(t *testing.T) {
	for name, test := range map[string]struct {
		audiences []string
		accepted  bool
	}{
		"valid":            {[]string{api.AdminAudience}, true},
		"no audience":      {nil, false},
		"the API server's": {[]string{"https://kubernetes.default.svc"}, false},
		"a pod's":          {[]string{api.Audience}, false},
	} {
		k := answering(t, func(created runtime.Object) (runtime.Object, error) {
			if spec := created.(*authenticationv1.TokenReview).Spec; spec.Token != "token" || !slices.Equal(spec.Audiences, []string{api.AdminAudience}) {
				t.Errorf("%s: reviewed %+v", name, spec)
			}
			return &authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{
				Authenticated: true, Audiences: test.audiences, User: authenticationv1.UserInfo{Username: "alice", UID: "7", Groups: []string{"oncall"}},
			}}, nil
		})
		c, err := k.ReviewAdmin(t.Context(), "token")
		if !test.accepted {
			p, ok := errors.AsType[*api.Problem](err)
			if !ok || p.Code != api.Unauthenticated || !strings.Contains(p.Detail, "kubectl create token") {
				t.Errorf("%s: got %+v, %v", name, c, err)
			}
			continue
		}
		if err != nil || c.User != "alice" || c.UID != "7" || !slices.Equal(c.Groups, []string{"oncall"}) || c.Pod != "" {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
}

func TestAuthorizeAsksForLeasesInTheAllocatorsNamespace(t *testing.T) {
	k := answering(t, func(created runtime.Object) (runtime.Object, error) {
		review := created.(*authorizationv1.SubjectAccessReview).DeepCopy()
		want := authorizationv1.ResourceAttributes{Namespace: "portlease", Verb: "update", Group: "coordination.k8s.io", Resource: "leases"}
		if *review.Spec.ResourceAttributes != want || review.Spec.UID != "7" || review.Spec.Extra["scope"][0] != "all" || review.Spec.Groups[0] != "oncall" {
			t.Errorf("asked for %+v", review.Spec)
		}
		review.Status.Allowed = review.Spec.User == "alice"
		return review, nil
	})
	c := auth.Caller{User: "alice", UID: "7", Groups: []string{"oncall"}, Extra: map[string][]string{"scope": {"all"}}}
	if err := k.Authorize(t.Context(), c, "update"); err != nil {
		t.Error(err)
	}
	c.User = "mallory"
	if err := k.Authorize(t.Context(), c, "update"); !errors.Is(err, api.ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

func TestPodIsAliveOnlyWithItsOwnUID(t *testing.T) {
	pods := map[string]*ledger.Pod{"game-0": {UID: "uid-0"}, "ended": {UID: "uid-0", Terminal: true}}
	k := auth.Kubernetes{GetPod: func(_ context.Context, _, name string) (*ledger.Pod, error) { return pods[name], nil }}
	for _, test := range []struct {
		pod, uid string
		alive    bool
	}{{"game-0", "uid-0", true}, {"game-0", "uid-1", false}, {"ended", "uid-0", false}, {"gone", "uid-0", false}} {
		err := k.CheckAlive(t.Context(), auth.Caller{Namespace: "games", Pod: test.pod, PodUID: test.uid})
		if (err == nil) != test.alive || err != nil && !errors.Is(err, api.ErrForbidden) {
			t.Errorf("%s with %s: got %v", test.pod, test.uid, err)
		}
	}
}

// A retry would not help, and the answer says what does.
func TestPodOfANamespaceWithoutGamesIsForbidden(t *testing.T) {
	k := auth.Kubernetes{GetPod: func(context.Context, string, string) (*ledger.Pod, error) {
		return nil, fmt.Errorf("reading pod: %w", ledger.ErrPodForbidden)
	}}
	err := k.CheckAlive(t.Context(), auth.Caller{Namespace: "elsewhere", Pod: "game-0", PodUID: "uid-0"})
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || p.Code != api.Forbidden || !strings.Contains(p.Detail, "namespace elsewhere: list it under games") {
		t.Errorf("got %v", err)
	}
}

// TestFailingAPIServerIsUnavailableAndNotARejection checks also that the cause stays
// out of the answer.
func TestFailingAPIServerIsUnavailableAndNotARejection(t *testing.T) {
	k := answering(t, func(runtime.Object) (runtime.Object, error) { return nil, errAPIServer })
	k.GetPod = func(context.Context, string, string) (*ledger.Pod, error) { return nil, errAPIServer }
	_, pod := k.ReviewPod(t.Context(), "token")
	_, admin := k.ReviewAdmin(t.Context(), "token")
	for what, err := range map[string]error{
		"pod": pod, "admin": admin, "authorize": k.Authorize(t.Context(), auth.Caller{}, "get"), "alive": k.CheckAlive(t.Context(), auth.Caller{}),
	} {
		p, ok := errors.AsType[*api.Problem](err)
		if !ok || p.Code != api.Unavailable || p.RetryAfter == 0 || auth.Rejected(err) || !errors.Is(err, errAPIServer) || strings.Contains(p.Detail, "10.96") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if _, err := k.Has(t.Context(), auth.Right{Verb: "get", Resource: "pods"}); !errors.Is(err, errAPIServer) {
		t.Errorf("has: got %v", err)
	}
}
