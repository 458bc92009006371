package rig_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// TestBadInputIsRefused sends invalid requests: each gets a problem document with its
// status, and nothing changes in the ledger or AWS.
func TestBadInputIsRefused(t *testing.T) {
	r := start(t, rig.Config{ClaimDuration: 30 * time.Second})
	ctx := t.Context()
	p, err := r.NewPod(ctx, "game-0", "game=7777/UDP")
	must(t, err)
	other, err := r.NewPod(ctx, "game-1", "game=7777/UDP")
	must(t, err)
	own, err := r.Token(ctx, p.Name)
	must(t, err)
	others, err := r.Token(ctx, other.Name)
	must(t, err)
	wrongAudience, err := r.Kube.PodToken(ctx, r.Games, p.Name, "somebody-else", time.Hour)
	must(t, err)
	node, err := r.Kube.ServiceAccount(ctx, r.Games, "game")
	must(t, err)
	powerless, err := r.Kube.PodToken(ctx, r.Games, p.Name, api.AdminAudience, time.Hour)
	must(t, err)
	gone, err := r.NewPod(ctx, "gone", "game=7777/UDP")
	must(t, err)
	goneToken, err := r.Token(ctx, gone.Name)
	must(t, err)
	must(t, gone.Remove(ctx))
	hostNetwork := hostNetworkPod(t, r)
	hostToken, err := r.Token(ctx, hostNetwork.Name)
	must(t, err)

	fence := `{"lease":"l-1","epoch":"e","generation":1}`
	cases := []struct {
		name               string
		pod                *rig.Pod
		method, path, body string
		token              string
		status             int
		code               api.Code
	}{
		{"no token", p, "PUT", "", request(p, onePort), "", 401, api.Unauthenticated},
		{"nonsense for a token", p, "PUT", "", request(p, onePort), "nonsense", 401, api.Unauthenticated},
		{"a forged signature", p, "PUT", "", request(p, onePort), own[:len(own)-8] + "AAAAAAAA", 401, api.Unauthenticated},
		{"a token for another audience", p, "PUT", "", request(p, onePort), wrongAudience, 401, api.Unauthenticated},
		{"a token that is bound to no pod", p, "PUT", "", request(p, onePort), node.BearerToken, 401, api.Unauthenticated},
		{"another pod's token", p, "PUT", "", request(p, onePort), others, 403, api.Forbidden},
		{"the token of a pod that is gone", gone, "PUT", "", request(gone, onePort), goneToken, 403, api.Forbidden},
		{"another pod's UID in the body", p, "PUT", "", request(other, onePort), own, 403, api.Forbidden},
		{"a pod on the host network", hostNetwork, "PUT", "", request(hostNetwork, onePort), hostToken, 422, api.Invalid},
		{"no JSON", p, "PUT", "", "nonsense", own, 400, api.Malformed},
		{"an empty body", p, "PUT", "", "", own, 400, api.Malformed},
		{"two JSON values", p, "PUT", "", request(p, onePort) + "{}", own, 400, api.Malformed},
		{"an unknown field", p, "PUT", "", `{"podUID":"x","hostPort":1}`, own, 400, api.Malformed},
		{"a body over the limit", p, "PUT", "", request(p, `[{"name":"`+strings.Repeat("x", 70_000)+`"}]`), own, 413, api.TooLarge},
		{"no ports", p, "PUT", "", request(p, `[]`), own, 422, api.Invalid},
		{"port 0", p, "PUT", "", request(p, `[{"name":"game","targetPort":0,"protocol":"UDP"}]`), own, 422, api.Invalid},
		{"port 65536", p, "PUT", "", request(p, `[{"name":"game","targetPort":65536,"protocol":"UDP"}]`), own, 422, api.Invalid},
		{"a negative port", p, "PUT", "", request(p, `[{"name":"game","targetPort":-1,"protocol":"UDP"}]`), own, 422, api.Invalid},
		{"an unknown protocol", p, "PUT", "", request(p, `[{"name":"game","targetPort":7777,"protocol":"SCTP"}]`), own, 422, api.Invalid},
		{"two ports of one name", p, "PUT", "", request(p, `[{"name":"game","targetPort":1,"protocol":"TCP"},{"name":"game","targetPort":2,"protocol":"TCP"}]`), own, 422, api.Invalid},
		{"one target port twice", p, "PUT", "", request(p, `[{"name":"a","targetPort":1,"protocol":"TCP"},{"name":"b","targetPort":1,"protocol":"TCP_UDP"}]`), own, 422, api.Invalid},
		{"an unknown pool", p, "PUT", "", strings.Replace(request(p, onePort), "default", "nowhere", 1), own, 422, api.Invalid},
		{"an address that is none", p, "PUT", "", strings.Replace(request(p, onePort), p.IP, "here", 1), own, 422, api.Invalid},
		{"another pod's address", p, "PUT", "", strings.Replace(request(p, onePort), p.IP, other.IP, 1), own, 503, api.Pending},
		{"UDP without a health port", p, "PUT", "", strings.Replace(request(p, onePort), "9901", "0", 1), own, 422, api.Invalid},
		{"a target group without a claim", p, "POST", api.CallTargetGroup, `{"claimUID":"u","fence":` + fence + `,"targetGroupARN":"arn"}`, own, 503, api.Pending},
		{"a listener without a claim", p, "POST", api.CallBound, `{"claimUID":"u","fence":` + fence + `,"listenerARN":"arn"}`, own, 503, api.Pending},
		{"a renewal without a claim", p, "POST", api.CallRenew, `{"claimUID":"u","podIP":"` + p.IP + `","pool":"default","ports":[]}`, own, 410, api.Lost},
		{"a renewal without an address", p, "POST", api.CallRenew, `{"claimUID":"u","podIP":"","pool":"default","ports":[]}`, own, 422, api.Invalid},
		{"a conflict without a claim", p, "POST", api.CallCollision, `{"claimUID":"u","fence":` + fence + `}`, own, 503, api.Pending},
		{"a release without a claim", p, "POST", api.CallRelease, `{"claimUID":"u"}`, own, 410, api.Lost},
		{"another pod's release", p, "POST", api.CallRelease, `{"claimUID":"u"}`, others, 403, api.Forbidden},
		{"a call that does not exist", p, "POST", "/steal", `{}`, own, 404, api.NotFound},
		{"a method that does not exist", p, "PATCH", "", `{}`, own, 405, api.MethodNotAllowed},
		{"an admin call with a pod's token", p, "GET", "", "", own, 401, api.Unauthenticated},
		{"an admin call without the right", p, "GET", "", "", powerless, 403, api.Forbidden},
		{"an admin call with a token for the API server", p, "GET", "", "", node.BearerToken, 401, api.Unauthenticated},
	}
	before := stateOf(t, r)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, a := range r.Replicas {
				answer, err := send(ctx, r, a, c.method, api.ClaimPath(r.Games, c.pod.Name)+c.path, c.token, c.body)
				must(t, err)
				// The API server may already know that the pod is gone, and then
				// rejects its token.
				early := c.pod == gone && answer.status == http.StatusUnauthorized && answer.problem.Code == api.Unauthenticated
				if !early && (answer.status != c.status || answer.problem.Code != c.code || answer.problem.Status != c.status) {
					t.Errorf("it was answered %d %s, not %d %s", answer.status, answer.body, c.status, c.code)
				}
				if answer.contentType != api.ProblemType || answer.problem.Detail == "" || answer.problem.Title == "" {
					t.Errorf("it is no problem document: %s %s", answer.contentType, answer.body)
				}
			}
			if after := stateOf(t, r); !reflect.DeepEqual(before, after) {
				t.Errorf("it changed something: %+v to %+v", before, after)
			}
		})
	}
	status, _, err := p.Call(ctx, r.Replicas[0], "DELETE", "?claimUID=u&gone=l-1", own, "")
	must(t, err)
	if status != http.StatusNoContent {
		t.Errorf("finishing a claim that is not there was answered %d", status)
	}
}

// systemState is the state that a refused request must not change.
type systemState struct {
	Claims  []rig.ClaimRecord
	Ports   []rig.PortRecord
	Listen  []elbemu.Listener
	Targets []elbemu.TargetGroup
}

func stateOf(t *testing.T, r *rig.Rig) systemState {
	t.Helper()
	claims, ports, err := r.Leases(t.Context())
	must(t, err)
	s := r.Emulator.Snapshot()
	return systemState{claims, ports, s.Listeners, s.TargetGroups}
}

type answer struct {
	status            int
	contentType, body string
	problem           api.Problem
}

func send(ctx context.Context, r *rig.Rig, a *rig.Replica, method, path, token, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.URL()+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := r.HTTP().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: got.StatusCode, contentType: got.Header.Get("Content-Type"), body: string(text)}
	return out, json.Unmarshal([]byte(out.body), &out.problem)
}

func hostNetworkPod(t *testing.T, r *rig.Rig) *rig.Pod {
	t.Helper()
	made, err := r.Kube.CreatePod(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Games, Name: "host-network"},
		Spec:       corev1.PodSpec{ServiceAccountName: "game", HostNetwork: true},
	})
	must(t, err)
	must(t, r.Kube.RunPod(t.Context(), r.Games, made.Name, "127.0.0.1"))
	return &rig.Pod{Name: made.Name, UID: string(made.UID), IP: "127.0.0.1"}
}
