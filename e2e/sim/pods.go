package sim

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Namespace of all pods.
const namespace = "games"

// pods are the pods in the API server.
type pods struct{ byName map[string]*ledger.Pod }

// find returns a copy of the pod of that name; nil if there is none.
func (p *pods) find(name string) *ledger.Pod {
	found := p.byName[name]
	if found == nil {
		return nil
	}
	shown := *found
	shown.IPs = slices.Clone(found.IPs)
	return &shown
}

// lives reports whether this very pod exists and is not terminal.
func (p *pods) lives(name, uid string) bool { return !ledger.Gone(p.find(name), uid) }

// look is one process's consistent read of one pod.
func (p *pods) look(process *Process) func(ctx context.Context, namespace, pod string) (*ledger.Pod, error) {
	return func(ctx context.Context, _, pod string) (*ledger.Pod, error) {
		return ask(ctx, process, kindPod, "look at pod "+pod, func() (*ledger.Pod, error) { return p.find(pod), nil })
	}
}

// token is the token that the kubelet gives a pod.
func token(pod, uid string) string { return tokenOf(pod + "/" + uid) }

// tokenOf gives a token that is spelled as a Kubernetes token and stands for a subject.
func tokenOf(subject string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(subject)) + ".e30.c2lt"
}

// subjectOf is the reverse of tokenOf; empty for any other token.
func subjectOf(token string) string {
	encoded, _, _ := strings.Cut(token, ".")
	subject, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(subject)
}

// callers implements auth.Reviewer: a token is good as long as its pod is
// there.
type callers struct {
	process *Process
	pods    *pods
}

// ReviewPod implements auth.Reviewer.
func (c callers) ReviewPod(ctx context.Context, token string) (auth.Caller, error) {
	name, uid, _ := strings.Cut(subjectOf(token), "/")
	valid, err := ask(ctx, c.process, kindReview, "review token of "+name, func() (bool, error) {
		found := c.pods.find(name)
		return found != nil && found.UID == uid, nil
	})
	if err != nil {
		return auth.Caller{}, api.Errorf(api.Unavailable, "reviewing the token: %v", err)
	}
	if !valid {
		return auth.Caller{}, api.Errorf(api.Unauthenticated, "the token of pod %s is not valid any more", name)
	}
	return auth.Caller{Namespace: namespace, Pod: name, PodUID: uid}, nil
}

// CheckAlive implements auth.Reviewer.
func (c callers) CheckAlive(ctx context.Context, who auth.Caller) error {
	found, err := c.pods.look(c.process)(ctx, who.Namespace, who.Pod)
	if err != nil {
		return api.Errorf(api.Unavailable, "looking at the pod: %v", err)
	}
	if ledger.Gone(found, who.PodUID) {
		return api.Errorf(api.Forbidden, "pod %s with UID %s is gone", who.Pod, who.PodUID)
	}
	return nil
}

// ReviewAdmin implements auth.Reviewer: an admin's token stands for the name.
func (c callers) ReviewAdmin(ctx context.Context, token string) (auth.Caller, error) {
	user := subjectOf(token)
	known, err := ask(ctx, c.process, kindReview, "review token of "+user, func() (bool, error) { return user == adminName, nil })
	if err != nil {
		return auth.Caller{}, api.Errorf(api.Unavailable, "reviewing the token: %v", err)
	}
	if !known {
		return auth.Caller{}, api.Errorf(api.Unauthenticated, "unknown user %s", user)
	}
	return auth.Caller{User: user}, nil
}

// Authorize implements auth.Reviewer: people may do everything.
func (c callers) Authorize(ctx context.Context, who auth.Caller, verb string) error {
	_, err := ask(ctx, c.process, kindPod, "may "+who.User+" "+verb, func() (struct{}, error) { return struct{}{}, nil })
	if err != nil {
		return api.Errorf(api.Unavailable, "asking for a right: %v", err)
	}
	return nil
}
