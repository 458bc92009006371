package binder_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const podIP = "127.30.0.7"

// world is an emulated AWS account, a claim on one port, and a binder for it.
type world struct {
	*testing.T
	emulator *elbemu.Emulator
	aws      *elb.Client
	reports  *reports
	claim    api.Claim

	mu    sync.Mutex // guards slept
	slept time.Duration
}

// sleptSoFar is how long the binder has slept.
func (w *world) sleptSoFar() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slept
}

// reports records what the binder reports, between the calls to AWS.
type reports struct {
	emulator *elbemu.Emulator
	// after is how many calls to AWS came before each report.
	after  map[string]int
	refuse map[string]error
}

func (r *reports) report(name string) error {
	r.after[name] = len(r.emulator.Calls())
	return r.refuse[name]
}

func (r *reports) TargetGroup(context.Context, string, string, api.TargetGroupRequest) error {
	return r.report("targetGroup")
}

func (r *reports) Bound(context.Context, string, string, api.BoundRequest) error {
	return r.report("bound")
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, elbemu.Config{})
}

func newWorldOn(t *testing.T, cfg elbemu.Config) *world {
	t.Helper()
	w := &world{T: t}
	cfg.Now = func() time.Time { return time.Unix(0, 0).Add(w.sleptSoFar()) }
	emulator, err := elbemu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	w.emulator, w.reports = emulator, &reports{emulator, make(map[string]int), make(map[string]error)}
	w.aws = elb.New(aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AGENT", "secret", ""),
		HTTPClient: &http.Client{Transport: emulator},
	}, nil)
	f := api.Fence{Lease: "lb-30000", Epoch: "e", Generation: 1}
	w.claim = api.Claim{
		UID: "claim-1", Ledger: "ledger-uid", Namespace: "games", Pod: "game-0", PodUID: "uid-0",
		LoadBalancer: api.LoadBalancer{ARN: w.loadBalancer(), Host: "games.elb.example", VPC: "vpc-local"},
		Ports: []api.ClaimedPort{{
			Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.TCP}, ListenerPort: 30000, Fence: f,
			TargetGroupName: elb.TargetGroupName("ledger-uid", f),
			HealthCheck:     api.HealthCheck{Protocol: "TCP", IntervalSeconds: 10, HealthyThreshold: 2, UnhealthyThreshold: 2},
		}},
	}
	return w
}

func (w *world) loadBalancer() string {
	w.Helper()
	body := w.post(url.Values{"Action": {"CreateLoadBalancer"}, "Name": {"games"}, "Type": {"network"}, "Subnets.member.1": {"subnet-local-a"}})
	match := regexp.MustCompile(`<LoadBalancerArn>([^<]+)<`).FindSubmatch(body)
	if match == nil {
		w.Fatalf("no load balancer in %s", body)
	}
	return string(match[1])
}

// post makes a call to AWS that no client of portlease makes.
func (w *world) post(form url.Values) []byte {
	w.Helper()
	form.Set("Version", "2015-12-01")
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, "https://elb.test/", strings.NewReader(form.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.emulator.RoundTrip(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.Fatalf("%s: %s: %s (%v)", form.Get("Action"), resp.Status, body, err)
	}
	return body
}

// retag makes a resource foreign.
func (w *world) retag(arn string) {
	w.Helper()
	w.post(url.Values{"Action": {"AddTags"}, "ResourceArns.member.1": {arn}, "Tags.member.1.Key": {elb.TagLease}, "Tags.member.1.Value": {"lb-30000/another/9"}})
}

// binder starts a binder that knows nothing. Its sleeps take no time.
func (w *world) binder() *binder.Binder {
	return binder.New(binder.Config{
		Pod: pod.Identity{Namespace: "games", Name: "game-0", UID: "uid-0", IP: podIP}, LoadBalancer: w.aws, Reports: w.reports,
		Clock: clock.Clock{
			Now: func() time.Time { return time.Unix(0, 0).Add(w.sleptSoFar()) }, Timeout: context.WithTimeout,
			Sleep: func(_ context.Context, d time.Duration) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.slept += d
				return nil
			},
		},
		Jitter:   func() float64 { return 0 },
		Failures: failure.Log{Metrics: metrics.NewSet(), Logger: slog.New(slog.DiscardHandler)}, Log: slog.New(slog.DiscardHandler),
	})
}

// morePorts lets the claim have that many ports.
func (w *world) morePorts(n int) {
	for len(w.claim.Ports) < n {
		p := w.claim.Ports[0]
		p.ListenerPort += len(w.claim.Ports)
		p.Fence.Lease = fmt.Sprintf("lb-%d", p.ListenerPort)
		p.TargetGroupName = elb.TargetGroupName("ledger-uid", p.Fence)
		w.claim.Ports = append(w.claim.Ports, p)
	}
}

// holding is a claim of whose bindings only what the ledger has recorded is known.
func (w *world) holding() *holding.Holding {
	h := holding.New()
	h.Adopt(w.claim)
	return h
}

// bound binds the ports, and returns what the agent then knows.
func (w *world) bound() *holding.Holding {
	w.Helper()
	h := w.holding()
	if err := w.bind(w.binder(), h); err != nil {
		w.Fatal(err)
	}
	return h
}

// bind grants a binder all calls that it asks for.
func (w *world) bind(b *binder.Binder, h *holding.Holding) error {
	for {
		if done, err := b.Bind(w.Context(), h, h.Claim.Ports...); done || err != nil {
			return err
		}
	}
}

// actions are the calls to AWS from one on, sorted because some go at once.
func (w *world) actions(from int) []string {
	var names []string
	for _, c := range w.emulator.Calls()[from:] {
		names = append(names, c.Action)
	}
	slices.Sort(names)
	return names
}

// throttle makes AWS throttle calls of an action, so often.
func (w *world) throttle(action string, times int) {
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == action && times > 0 {
			times--
			return elbemu.Throttle()
		}
		return elbemu.Fault{}
	})
}

func (w *world) targets(targetGroup string) []string {
	w.Helper()
	targets, err := w.aws.Targets(w.Context(), targetGroup)
	if err != nil {
		w.Fatal(err)
	}
	var ips []string
	for _, t := range targets {
		if !t.Draining() {
			ips = append(ips, t.IP)
		}
	}
	return ips
}
