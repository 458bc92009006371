package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// attacker is a game that was broken into: a real pod with everything that its
// containers hold. Its agent does not run.
type attacker struct {
	w *world
	*rig.Pod
	// token is the pod's token for the allocator.
	token string
	// http calls from the pod's own address.
	http *http.Client
	// aws calls with the pod's session tags, and does not retry.
	aws *elbv2.Client
}

func (w *world) newAttacker(ctx context.Context) (*attacker, error) {
	ip, err := w.NewAddress()
	if err != nil {
		return nil, err
	}
	return w.newAttackerAt(ctx, ip)
}

// newAttackerAt is newAttacker with a given address.
func (w *world) newAttackerAt(ctx context.Context, ip string) (*attacker, error) {
	w.named++
	p, err := w.NewPodAt(ctx, fmt.Sprintf("attacker-%d", w.named), "game=7777/UDP", ip)
	if err != nil {
		return nil, err
	}
	a := &attacker{w: w, Pod: p, http: w.httpFrom(p.IP)}
	if a.token, err = w.Token(ctx, p.Name); err != nil {
		return nil, err
	}
	config := w.AWS()
	config.Credentials = credentials.NewStaticCredentialsProvider(p.AccessKey(), "hostile", "")
	config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	a.aws = elbv2.NewFromConfig(config)
	w.attackers = append(w.attackers, p)
	return a, nil
}

// dialerFrom dials from an address.
func dialerFrom(ip string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
}

// httpFrom gives a client that calls from an address.
func (w *world) httpFrom(ip string) *http.Client {
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: w.ClientTLS(), DialContext: dialerFrom(ip).DialContext, MaxIdleConnsPerHost: 100},
	}
}

// answer is the answer to a call of the API.
type answer struct {
	status  int
	problem api.Problem
	body    []byte
}

// String names an answer for people.
func (a answer) String() string {
	if a.problem.Code != "" {
		return fmt.Sprintf("%d %s (%s)", a.status, a.problem.Code, a.problem.Detail)
	}
	return fmt.Sprintf("%d", a.status)
}

// ok reports whether the call was granted.
func (a answer) ok() bool { return a.status < http.StatusMultipleChoices }

// claim reads the claim in a granted answer.
func (a answer) claim() (c api.Claim, err error) {
	if !a.ok() {
		return c, fmt.Errorf("answered %v", a)
	}
	if err = json.Unmarshal(a.body, &c); err != nil {
		err = fmt.Errorf("reading a claim: %w", err)
	}
	return c, err
}

// call makes one call on the pod's own claim.
func (a *attacker) call(ctx context.Context, replica *rig.Replica, method, path string, body any) (answer, error) {
	return a.callAs(ctx, replica, method, path, a.token, body)
}

// callAs is call with any text as the token.
func (a *attacker) callAs(ctx context.Context, replica *rig.Replica, method, path, token string, body any) (got answer, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return got, fmt.Errorf("writing a call: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, replica.URL()+api.ClaimPath(a.w.Games, a.Name)+path, bytes.NewReader(text))
	if err != nil {
		return got, fmt.Errorf("making a call: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	// The allocator closes idle connections of an address that has many. Without a value this
	// has net/http send the call again on another one, and is not sent itself.
	req.Header["Idempotency-Key"] = nil
	resp, err := a.http.Do(req)
	if err != nil {
		return got, fmt.Errorf("calling the allocator: %w", err)
	}
	defer resp.Body.Close()
	if got.body, err = io.ReadAll(resp.Body); err != nil {
		return got, fmt.Errorf("reading an answer: %w", err)
	}
	got.status = resp.StatusCode
	if !got.ok() {
		// A proxy's answer has no problem document; the status says enough.
		_ = json.Unmarshal(got.body, &got.problem)
	}
	return got, nil
}

// put claims ports, and repeats while the allocator asks for that.
func (a *attacker) put(ctx context.Context, poolName string, ports ...api.Port) (got answer, err error) {
	req := api.ClaimRequest{PodUID: a.UID, PodIP: a.IP, Pool: poolName, Ports: ports, HealthPort: 9901}
	err = rig.Eventually(ctx, a.Name+" to be answered", func() error {
		got, err = a.call(ctx, a.w.Replicas[0], http.MethodPut, "", req)
		if err == nil && slices.Contains([]api.Code{api.Pending, api.Unavailable, api.RateLimited}, got.problem.Code) {
			err = fmt.Errorf("answered %v", got)
		}
		return err
	})
	return got, err
}

// gamePort is what most pods claim.
var gamePort = api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}

// tags are those that IAM lets the pod give.
func (a *attacker) tags(f api.Fence) map[string]string {
	return elb.Tags{
		Ledger: a.w.Ledger, Namespace: a.w.Games, Pod: a.Name, PodUID: a.UID, Lease: f.Lease, Epoch: f.Epoch, Generation: f.Generation,
	}.Map()
}

// clearAttackers ends the attackers' pods and deletes what they still have in AWS, so
// that the next round begins alike whether or not the attack succeeded.
func (w *world) clearAttackers(ctx context.Context) error {
	uids := make(map[string]bool)
	for _, p := range w.attackers {
		uids[p.UID] = true
		if err := p.Crash(ctx); err != nil {
			return err
		}
	}
	w.attackers = nil
	return w.deleteOf(ctx, uids)
}

// deleteOf deletes everything in AWS that is tagged with one of these pod UIDs.
func (w *world) deleteOf(ctx context.Context, uids map[string]bool) error {
	admin, s := w.ELB(), w.Emulator.Snapshot()
	for _, l := range s.Listeners {
		if !uids[l.Tags[elb.TagPodUID]] {
			continue
		}
		if _, err := admin.DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: &l.ARN}); err != nil && !gone(err) {
			return fmt.Errorf("deleting an attacker's listener: %w", err)
		}
	}
	for _, g := range s.TargetGroups {
		if !uids[g.Tags[elb.TagPodUID]] {
			continue
		}
		if _, err := admin.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &g.ARN}); err != nil && !gone(err) {
			return fmt.Errorf("deleting an attacker's target group: %w", err)
		}
	}
	return nil
}
