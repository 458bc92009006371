package linearize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/shared/api"
)

// notSent is the outcome of a call that no allocator worked on. It is not part of the
// history.
const notSent spec.Outcome = "not sent"

// callLimit is how long a pod waits for an answer before it asks another replica. Some
// calls are impatient, so that they are still under way while the next one is made.
const (
	callLimit      = 2 * time.Second
	impatientLimit = 300 * time.Millisecond
)

func (r *round) limit() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.impatience != nil && r.impatience.IntN(10) == 0 {
		return impatientLimit
	}
	return callLimit
}

func (r *round) put(ctx context.Context, a *caller, replica, lane int) (spec.Op, api.Claim) {
	request := api.ClaimRequest{PodUID: a.pod.UID, PodIP: a.pod.IP, Pool: pool, HealthPort: 9901}
	for n := range a.want {
		request.Ports = append(request.Ports, api.Port{Name: fmt.Sprintf("p%d", n), TargetPort: 7777 + n, Protocol: api.UDP})
	}
	return call(ctx, r, a, replica, spec.Op{Verb: spec.Put, Lane: lane}, http.MethodPut, "", request, asClaim)
}

func (r *round) renew(ctx context.Context, a *caller, replica int, c api.Claim) (spec.Op, api.Claim) {
	request := api.RenewRequest{ClaimUID: c.UID, PodIP: a.pod.IP, Pool: pool, Ports: append([]api.ClaimedPort{}, c.Ports...)}
	op := spec.Op{Verb: spec.Renew, Claim: c.UID}
	return call(ctx, r, a, replica, op, http.MethodPost, api.CallRenew, request, func(text []byte) (api.Claim, error) {
		var answer api.RenewAnswer
		err := json.Unmarshal(text, &answer)
		return answer.Claim, err
	})
}

func (r *round) reportCollision(ctx context.Context, a *caller, replica int, c api.Claim) (spec.Op, api.Claim) {
	op := spec.Op{Verb: spec.Collision, Claim: c.UID, Fence: c.Ports[0].Fence, Foreign: r.hasForeignListener(c.Ports[0].Fence.Lease)}
	request := api.CollisionRequest{ClaimUID: c.UID, Fence: op.Fence}
	return call(ctx, r, a, replica, op, http.MethodPost, api.CallCollision, request, asClaim)
}

func (r *round) release(ctx context.Context, a *caller, replica int, c api.Claim) spec.Op {
	op, _ := call(ctx, r, a, replica, spec.Op{Verb: spec.Release, Claim: c.UID}, http.MethodPost, api.CallRelease, api.ReleaseRequest{ClaimUID: c.UID}, nothing)
	return op
}

func (r *round) remove(ctx context.Context, a *caller, replica int, c api.Claim) spec.Outcome {
	query := url.Values{api.QueryClaimUID: {c.UID}}
	for _, p := range c.Ports {
		query.Add(api.QueryGone, p.Fence.Lease)
	}
	op, _ := call(ctx, r, a, replica, spec.Op{Verb: spec.Delete, Claim: c.UID}, http.MethodDelete, "?"+query.Encode(), nil, nothing)
	return op.Outcome
}

func asClaim(text []byte) (c api.Claim, err error) {
	err = json.Unmarshal(text, &c)
	return c, err
}

func nothing([]byte) (api.Claim, error) { return api.Claim{}, nil }

// call makes one call as a pod and records it in the history.
func call(ctx context.Context, r *round, a *caller, replica int, op spec.Op, method, suffix string, body any, read func([]byte) (api.Claim, error)) (spec.Op, api.Claim) {
	at := r.rig.Replicas[replica]
	op.Lane += a.lane
	op.Pod, op.Replica, op.Want = a.pod.Name, at.Name(), a.want
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			panic(err) // of our own types
		}
		text = string(encoded)
	}
	limited, cancel := context.WithTimeout(ctx, r.limit())
	defer cancel()
	op.Start = time.Since(r.began)
	status, answer, err := send(limited, a.http, method, at.URL()+api.ClaimPath(r.rig.Games, a.pod.Name)+suffix, a.token, text)
	op.End = time.Since(r.began)
	var claim api.Claim
	op.Outcome, op.Detail = outcome(status, answer, err)
	if op.Outcome == spec.Done {
		if claim, err = read(answer); err != nil {
			op.Outcome, op.Detail = "unreadable", err.Error()
		}
		op.UID = claim.UID
		for _, p := range claim.Ports {
			op.Holds = append(op.Holds, spec.Hold{LoadBalancer: claim.LoadBalancer.ARN, Port: p.ListenerPort, Fence: p.Fence})
		}
	}
	if op.Outcome != notSent {
		r.record(op)
	}
	return op, claim
}

func send(ctx context.Context, client *http.Client, method, url, token, body string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

// outcome interprets an answer. A write that the API server did not confirm to the
// allocator may still take effect, so unavailable is as uncertain as no answer.
func outcome(status int, text []byte, err error) (spec.Outcome, string) {
	if broken, ok := errors.AsType[*net.OpError](err); ok && broken.Op == "dial" {
		return notSent, ""
	}
	if err != nil {
		return spec.Unknown, err.Error()
	}
	if status < http.StatusMultipleChoices {
		return spec.Done, ""
	}
	var problem api.Problem
	if err := json.Unmarshal(text, &problem); err != nil || problem.Code == "" {
		if status == http.StatusServiceUnavailable {
			return notSent, "" // it does not speak for itself yet
		}
		return spec.Outcome(fmt.Sprintf("status %d", status)), string(text)
	}
	if strings.Contains(problem.Detail, "the ledger has not been read yet") {
		return notSent, "" // a replica that has only just started
	}
	switch problem.Code {
	case api.Exhausted:
		return spec.Exhausted, ""
	case api.Releasing, api.Lost:
		return spec.Outcome(problem.Code), ""
	case api.Pending:
		return spec.Refused, problem.Detail
	case api.Unavailable:
		return spec.Unknown, problem.Detail
	default:
		return spec.Outcome(problem.Code), problem.Detail
	}
}
