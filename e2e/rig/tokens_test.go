package rig_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// target is a pod and its claim. Every call on it is valid, so that only the token
// can be the reason of a refusal.
type target struct {
	pod   *rig.Pod
	claim api.Claim
}

// tokenCalls are the columns of the table.
var tokenCalls = []struct {
	name string
	// call gives the request for a target.
	call func(r *rig.Rig, g target) (method, path, body string)
}{
	{"PUT", func(r *rig.Rig, g target) (string, string, string) { return "PUT", g.path(r), request(g.pod, onePort) }},
	{"targetgroup", func(r *rig.Rig, g target) (string, string, string) {
		return "POST", g.path(r) + api.CallTargetGroup, text(api.TargetGroupRequest{ClaimUID: g.claim.UID, Fence: g.port().Fence, TargetGroupARN: g.port().TargetGroupARN})
	}},
	{"bound", func(r *rig.Rig, g target) (string, string, string) {
		return "POST", g.path(r) + api.CallBound, text(api.BoundRequest{ClaimUID: g.claim.UID, Fence: g.port().Fence, ListenerARN: g.port().ListenerARN})
	}},
	{"collision", func(r *rig.Rig, g target) (string, string, string) {
		return "POST", g.path(r) + api.CallCollision, text(api.CollisionRequest{ClaimUID: g.claim.UID, Fence: g.port().Fence})
	}},
	{"renew", func(r *rig.Rig, g target) (string, string, string) {
		return "POST", g.path(r) + api.CallRenew, text(api.RenewRequest{ClaimUID: g.claim.UID, PodIP: g.pod.IP, Pool: "default", Ports: []api.ClaimedPort{g.port()}})
	}},
	{"release", func(r *rig.Rig, g target) (string, string, string) {
		return "POST", g.path(r) + api.CallRelease, text(api.ReleaseRequest{ClaimUID: g.claim.UID})
	}},
	{"DELETE", func(r *rig.Rig, g target) (string, string, string) {
		return "DELETE", g.path(r) + "?" + api.QueryClaimUID + "=" + g.claim.UID + "&" + api.QueryGone + "=" + g.port().Fence.Lease, ""
	}},
	{"GET claim", func(r *rig.Rig, g target) (string, string, string) { return "GET", g.path(r), "" }},
	{"GET pools", func(*rig.Rig, target) (string, string, string) { return "GET", api.PathPools, "" }},
	{"GET ports", func(*rig.Rig, target) (string, string, string) { return "GET", api.PathPorts, "" }},
	{"GET port", func(_ *rig.Rig, g target) (string, string, string) { return "GET", g.portPath(), "" }},
	{"block", func(_ *rig.Rig, g target) (string, string, string) {
		return "POST", g.portPath() + api.CallBlock, `{"reason":"the token table"}`
	}},
	{"unblock", func(_ *rig.Rig, g target) (string, string, string) { return "POST", g.portPath() + api.CallUnblock, "" }},
	{"cordon", func(_ *rig.Rig, g target) (string, string, string) {
		return "POST", api.LoadBalancerPath(g.loadBalancer()) + api.CallCordon, `{"reason":"the token table"}`
	}},
	{"uncordon", func(_ *rig.Rig, g target) (string, string, string) {
		return "POST", api.LoadBalancerPath(g.loadBalancer()) + api.CallUncordon, ""
	}},
}

const (
	podCalls, viewCalls, changeCalls = 7, 4, 4
	// granted stands for any answer from behind authentication and authorization.
	granted = 200
)

func (g target) path(r *rig.Rig) string { return api.ClaimPath(r.Games, g.pod.Name) }

func (g target) port() api.ClaimedPort { return g.claim.Ports[0] }

func (g target) loadBalancer() string {
	return g.claim.LoadBalancer.ARN[strings.LastIndexByte(g.claim.LoadBalancer.ARN, '/')+1:]
}

func (g target) portPath() string { return api.PortPath(g.loadBalancer(), g.port().ListenerPort) }

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// each gives a row's statuses: one for all pod calls, one for all views and one for
// all changes.
func each(pods, views, changes int) []int {
	return slices.Concat(slices.Repeat([]int{pods}, podCalls), slices.Repeat([]int{views}, viewCalls), slices.Repeat([]int{changes}, changeCalls))
}

// tokenRow is one kind of token.
type tokenRow struct {
	name, token string
	on          target
	want        []int
	// early marks a token that the API server itself may already refuse.
	early bool
}

// TestEachTokenMayMakeOnlyItsCalls tries every kind of token on every call, on the
// real API server. A refused call changes nothing.
func TestEachTokenMayMakeOnlyItsCalls(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{})
	ctx := t.Context()
	s := &tokenScene{T: t, Rig: r}
	victim := s.bound("game-0")
	again := s.recreated("again")
	own, err := r.Token(ctx, victim.pod.Name)
	must(t, err)
	gone := s.removed("gone")
	rows := []tokenRow{
		{"none", "", victim, each(401, 401, 401), false},
		{"garbage", "nonsense", victim, each(401, 401, 401), false},
		{"own, forged signature", forged(own), victim, each(401, 401, 401), false},
		{"own, unsigned", unsigned(own), victim, each(401, 401, 401), false},
		{"own, expired", s.at(own, 2*time.Hour), victim, each(401, 401, 401), false},
		{"own, not valid yet", s.at(own, -2*time.Hour), victim, each(401, 401, 401), false},
		{"own, another audience", s.token(r.Games, victim.pod.Name, "somebody-else"), victim, each(401, 401, 401), false},
		{"own, the API server's", s.token(r.Games, victim.pod.Name, ""), victim, each(401, 401, 401), false},
		{"own, for admins", s.token(r.Games, victim.pod.Name, api.AdminAudience), victim, each(401, 403, 403), false},
		{"another pod's", s.token(r.Games, s.pod(r.Games, "other"), api.Audience), victim, each(403, 401, 401), false},
		{"same name, another namespace's", s.token(s.elsewhere, s.pod(s.otherNamespace(), victim.pod.Name), api.Audience), victim, each(403, 401, 401), false},
		{"its deleted pod's", gone.token, gone.target, each(401, 401, 401), false},
		{"its earlier namesake's", again.token, again.target, each(401, 401, 401), false},
		{"a service account's", s.account(api.Audience, nil), victim, each(403, 401, 401), false},
		{"a service account's, the API server's", s.account("", nil), victim, each(401, 401, 401), false},
		{"a service account's, for admins", s.account(api.AdminAudience, nil), victim, each(401, 403, 403), false},
		{"a node's", s.account(api.Audience, s.node()), victim, each(403, 401, 401), false},
		{"a node's, the API server's", s.account("", s.node()), victim, each(401, 401, 401), false},
		{"an admin's, the API server's", s.allocators(), victim, each(401, 401, 401), false},
		{"an admin's with the right to list", s.viewer(), victim, each(401, granted, 403), false},
	}
	for _, row := range rows {
		s.tryWithoutEffect(row)
	}
	// The allocator still has cached reviews of these tokens when their pods go. It
	// grants nothing all the same. Releasing a missing claim does no harm.
	cachedReviews := []int{403, 403, 503, 403, 410, 410, 204, 401, 401, 401, 401, 401, 401, 401, 401}
	for _, back := range []bool{false, true} {
		name := map[bool]string{false: "its pod's, deleted a moment ago", true: "its namesake's, deleted a moment ago"}[back]
		g, token := s.justRemoved(fmt.Sprintf("late-%v", back), victim, back)
		s.tryWithoutEffect(tokenRow{name, token, g, cachedReviews, true})
	}
	admin, err := r.AdminToken(ctx)
	must(t, err)
	s.try(tokenRow{"an admin's with all rights", admin, victim, each(401, granted, granted), false})
	for _, g := range []target{victim, again.target} {
		token, err := r.Token(ctx, g.pod.Name)
		must(t, err)
		s.try(tokenRow{"own", token, g, slices.Concat([]int{200, 204, 204, 200, 200, 200, 204}, slices.Repeat([]int{401}, viewCalls+changeCalls)), false})
	}
	s.print()
}

// tokenScene creates the tokens and tries them.
type tokenScene struct {
	*testing.T
	*rig.Rig
	elsewhere string
	rows      []string
	waited    int
}

// tryWithoutEffect is try, and checks that no Lease of the ledger has changed, apart from
// what an audit records of targets meanwhile.
func (s *tokenScene) tryWithoutEffect(row tokenRow) {
	s.Helper()
	claims, ports, err := s.Leases(s.Context())
	must(s.T, err)
	s.try(row)
	claimsAfter, portsAfter, err := s.Leases(s.Context())
	must(s.T, err)
	if !reflect.DeepEqual(claims, claimsAfter) || !reflect.DeepEqual(unaudited(ports), unaudited(portsAfter)) {
		s.Errorf("%s changed the ledger: %+v %+v to %+v %+v", row.name, claims, ports, claimsAfter, portsAfter)
	}
}

// unaudited are ports without what audits write.
func unaudited(ports []ledger.Record[ledger.Port]) []ledger.Record[ledger.Port] {
	ports = slices.Clone(ports)
	for i := range ports {
		ports[i].Version, ports[i].Value.TargetHealth, ports[i].Value.UpdatedAt = "", "", time.Time{}
	}
	return ports
}

// try makes every call of the table with one token. It waits when an answer asks for
// that, because the table exceeds the failures that one IP may cause at once.
func (s *tokenScene) try(row tokenRow) {
	s.Helper()
	cells := []string{row.name}
	for n, c := range tokenCalls {
		method, path, body := c.call(s.Rig, row.on)
		answer, err := s.patiently(method, path, row.token, body)
		must(s.T, err)
		mark := ""
		through := row.want[n] == granted && n >= podCalls && answer.status == http.StatusNotFound
		early := row.early && answer.status == http.StatusUnauthorized
		if answer.status != row.want[n] && !through && !early {
			mark = " (!)"
			s.Errorf("%s: %s was answered %d %s, want %d", row.name, c.name, answer.status, answer.body, row.want[n])
		}
		cells = append(cells, strconv.Itoa(answer.status)+mark)
	}
	s.rows = append(s.rows, strings.Join(cells, "\t"))
	check(s.T, s.Rig)
}

func (s *tokenScene) patiently(method, path, token, body string) (answer, error) {
	for {
		got, after, err := s.once(method, path, token, body)
		if err != nil || got.status != http.StatusTooManyRequests {
			return got, err
		}
		s.waited++
		if err := daemon.Sleep(s.Context(), after); err != nil {
			return got, err
		}
	}
}

func (s *tokenScene) once(method, path, token, body string) (answer, time.Duration, error) {
	req, err := http.NewRequestWithContext(s.Context(), method, s.Replicas[0].URL()+path, strings.NewReader(body))
	if err != nil {
		return answer{}, 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := s.HTTP().Do(req)
	if err != nil {
		return answer{}, 0, err
	}
	defer got.Body.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(got.Body); err != nil {
		return answer{}, 0, err
	}
	seconds, _ := strconv.Atoi(got.Header.Get("Retry-After"))
	return answer{status: got.StatusCode, body: out.String()}, time.Duration(seconds) * time.Second, nil
}

func (s *tokenScene) print() {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	head := []string{"TOKEN"}
	for _, c := range tokenCalls {
		head = append(head, c.name)
	}
	fmt.Fprintln(table, strings.Join(head, "\t"))
	for _, row := range s.rows {
		fmt.Fprintln(table, row)
	}
	must(s.T, table.Flush())
	s.Logf("%d times asked to wait\n%s", s.waited, out.String())
}
