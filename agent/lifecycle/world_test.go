package lifecycle_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
	"github.com/portlease/portlease/shared/elb"
)

const podIP = "127.30.0.7"

// world is an AWS account, a ledger and one pod. It lives in a synctest bubble:
// its time is not the tests'.
type world struct {
	t        *testing.T
	emulator *elbemu.Emulator
	aws      *elb.Client // of a person who looks
	ledger   *ledger
	lb       string
	dir      string
	pod      pod.Identity
	ports    []api.Port
	ownPod   *ownPod
	drain    time.Duration
	// listens tells whether the game listens; it always does unless a story says so.
	listens func() (bool, error)
	// deaf is whether the game has stopped listening.
	deaf    atomic.Bool
	release time.Duration
	// deregister is how long flows are given; not at all unless a story says so.
	deregister time.Duration

	mu    sync.Mutex // guards fault
	fault func(elbemu.Call) elbemu.Fault
}

// inWorld runs a story in a bubble of its own.
func inWorld(t *testing.T, cfg elbemu.Config, story func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		emulator, err := elbemu.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := emulator.Close(); err != nil {
				t.Error(err)
			}
		}()
		w := &world{
			t: t, emulator: emulator, dir: t.TempDir(),
			pod:   pod.Identity{Namespace: "games", Name: "game-0", UID: "uid-0", IP: podIP},
			ports: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, ownPod: &ownPod{ending: &pod.Termination{Deleted: true, Grace: 24 * time.Hour}},
			release: 25 * time.Second,
		}
		w.listens = func() (bool, error) { return !w.deaf.Load(), nil }
		w.aws = w.client(emulator)
		w.lb = w.loadBalancer()
		w.ledger = newLedger(t, api.LoadBalancer{ARN: w.lb, Host: "games.elb.example", VPC: "vpc-local"})
		w.ledger.targets = w.targets
		emulator.SetFault(w.decide)
		story(t, w)
	})
}

// decide asserts the license on every call and then asks the story.
func (w *world) decide(call elbemu.Call) elbemu.Fault {
	if call.Action == "CreateListener" && call.AccessKeyID == "AGENT" {
		group := call.Params.Get("DefaultActions.member.1.TargetGroupArn")
		w.ledger.change(func() {
			if !w.ledger.recorded[group] {
				w.t.Errorf("CreateListener was sent before target group %s was recorded", group)
			}
		})
	}
	w.checkVacated(call)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil {
		return elbemu.Fault{}
	}
	return w.fault(call)
}

func (w *world) setFault(f func(elbemu.Call) elbemu.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

func (w *world) client(transport http.RoundTripper) *elb.Client {
	key := "PERSON"
	if transport != http.RoundTripper(w.emulator) {
		key = "AGENT"
	}
	return elb.New(aws.Config{
		Region:      "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""),
		HTTPClient:  &http.Client{Transport: transport},
	}, nil)
}

var arnPattern = regexp.MustCompile(`<LoadBalancerArn>([^<]+)<`)

func (w *world) loadBalancer() string {
	body := w.post(url.Values{"Action": {"CreateLoadBalancer"}, "Name": {"games"}, "Type": {"network"}, "Subnets.member.1": {"subnet-local-a"}})
	match := arnPattern.FindSubmatch(body)
	if match == nil {
		w.t.Fatalf("no load balancer in %s", body)
	}
	return string(match[1])
}

// retag is somebody who writes another value of a tag.
func (w *world) retag(arn, key, value string) {
	w.post(url.Values{"Action": {"AddTags"}, "ResourceArns.member.1": {arn}, "Tags.member.1.Key": {key}, "Tags.member.1.Value": {value}})
}

// post calls AWS for what no client of ours does.
func (w *world) post(form url.Values) []byte {
	form.Set("Version", "2015-12-01")
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://elb.test/", strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.emulator.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %s: %s (%v)", form.Get("Action"), resp.Status, body, err)
	}
	return body
}

// process is one running agent.
type process struct {
	*lifecycle.Agent

	w     *world
	stop  context.CancelFunc
	hurry chan struct{}
	ended chan error
	cut   *wire
	set   *metrics.Set
}

// wire is the process's way to the outside, which is cut when it is killed: then
// nothing it does reaches anybody.
type wire struct {
	next http.RoundTripper

	mu   sync.Mutex // guards dead
	dead bool
}

var errKilled = errors.New("the process was killed")

func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
}

func (w *wire) killed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.killed() {
		return nil, errKilled
	}
	resp, err := w.next.RoundTrip(r)
	if w.killed() { // during the call
		if err == nil {
			resp.Body.Close()
		}
		return nil, errKilled
	}
	return resp, err
}

// start starts an agent of the pod.
func (w *world) start() *process {
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	p := &process{w: w, stop: stop, hurry: make(chan struct{}), ended: make(chan error, 1), cut: &wire{next: w.emulator}, set: metrics.NewSet()}
	p.Agent = lifecycle.New(lifecycle.Config{
		Pod: w.pod, Pool: "default", Ports: w.ports, HealthPort: 9901, Drain: w.drain, Listens: w.listens, Deregister: w.deregister, ReleaseTimeout: w.release,
		Allocator: cuttable{w.ledger, p.cut}, LoadBalancer: w.client(p.cut),
		Files: announce.Files{Dir: w.dir}, OwnPod: w.ownPod, Events: w.ownPod,
		OnHolding: func() {},
		Clock:     clock.Clock{Now: time.Now, Sleep: daemon.Sleep, Timeout: context.WithTimeout},
		Jitter:    func() float64 { return 0.5 },
		Metrics:   p.set, Log: slog.New(slog.DiscardHandler),
	})
	go func() { p.ended <- p.Run(ctx, p.hurry) }()
	return p
}

func (w *world) stopListening() { w.deaf.Store(true) }

// term is SIGTERM: it waits until the agent has ended and tells how long that took.
func (p *process) term() time.Duration {
	p.w.t.Helper()
	start := time.Now()
	p.stop()
	if err := <-p.ended; err != nil {
		p.w.t.Errorf("the agent ended with %v", err)
	}
	return time.Since(start)
}

// kill is SIGKILL.
func (p *process) kill() {
	p.w.t.Helper()
	p.cut.kill()
	p.stop()
	if err := <-p.ended; err != nil {
		p.w.t.Errorf("the agent ended with %v", err)
	}
}

func (p *process) metric(name string) string {
	var text strings.Builder
	p.set.WritePrometheus(&text)
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// cuttable is the ledger behind a wire.
type cuttable struct {
	*ledger
	cut *wire
}

func through[T any](c cuttable, call func() (T, error)) (T, error) {
	var none T
	if c.cut.killed() {
		return none, errKilled
	}
	answer, err := call()
	if c.cut.killed() {
		return none, errKilled
	}
	return answer, err
}

func (c cuttable) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	return through(c, func() (api.Claim, error) { return c.ledger.Claim(ctx, namespace, pod, r) })
}

func (c cuttable) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	_, err := through(c, func() (any, error) { return nil, c.ledger.TargetGroup(ctx, namespace, pod, r) })
	return err
}

func (c cuttable) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	_, err := through(c, func() (any, error) { return nil, c.ledger.Bound(ctx, namespace, pod, r) })
	return err
}

func (c cuttable) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	return through(c, func() (api.ReleaseAnswer, error) { return c.ledger.Release(ctx, namespace, pod, r) })
}

func (c cuttable) Finish(ctx context.Context, namespace, pod, uid string, gone []string) error {
	_, err := through(c, func() (any, error) { return nil, c.ledger.Finish(ctx, namespace, pod, uid, gone) })
	return err
}

// ownPod is what was written on the pod.
type ownPod struct {
	mu        sync.Mutex // guards all below
	endpoint  int        // listener port; 0: withdrawn
	reachable pod.Condition
	calls     int
	// ending is what Termination answers, after a time; nil is an error.
	takes  time.Duration
	ending *pod.Termination
	events []string
	last   string // message of an event
	refuse error
	lose   error // of setting the condition: it was set, and its answer lost
}

func (o *ownPod) Announce(_ context.Context, c api.Claim) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return o.refuse
	}
	o.endpoint = c.Ports[0].ListenerPort
	return nil
}

func (o *ownPod) Withdraw(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endpoint = 0
	return o.refuse
}

func (o *ownPod) SetReachable(_ context.Context, c pod.Condition) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls++; o.refuse == nil {
		o.reachable = c
	}
	return errors.Join(o.refuse, o.lose)
}

func (o *ownPod) Termination(ctx context.Context) (pod.Termination, error) {
	if err := daemon.Sleep(ctx, o.takes); err != nil { // of the bubble's clock
		return pod.Termination{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending == nil {
		return pod.Termination{}, errors.New("the API server is away")
	}
	return *o.ending, nil
}

func (o *ownPod) Record(_ context.Context, _ pod.EventType, reason, message string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events, o.last = append(o.events, reason), message
	return o.refuse
}

func (o *ownPod) recorded() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.events)
}

func (o *ownPod) message() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func (o *ownPod) condition() pod.Condition {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reachable
}

// count is how often the condition was set.
func (o *ownPod) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls
}

func (o *ownPod) setTermination(e *pod.Termination) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ending = e
}

func (o *ownPod) says() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endpoint
}

func (o *ownPod) setLose(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lose = err
}

func (o *ownPod) setRefuse(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = err
}

// await lets time pass until a condition holds, at most an hour.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	for range 36000 {
		synctest.Wait()
		if condition() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("an hour passed without: %s", what)
}

func (w *world) awaitReady(p *process) {
	w.t.Helper()
	w.await("ready", func() bool { return p.Ready() == nil })
}

// announced is the endpoint as the game server reads it; empty without one.
func (w *world) announced() string {
	text, err := os.ReadFile(filepath.Join(w.dir, "endpoint"))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// checkBound asserts that the account holds exactly one whole binding for each
// of the listener ports: this pod as the only target, and the tags of the ledger's
// fence on everything.
func (w *world) checkBound(ports ...int) {
	w.t.Helper()
	claim := w.ledger.now()
	listeners := must[[]elb.Listener](w)(w.aws.Listeners(w.t.Context(), w.lb))
	groups := must[[]elb.TargetGroup](w)(w.aws.TargetGroups(w.t.Context()))
	if len(listeners) != len(ports) || len(groups) != len(ports) || len(claim.Ports) != len(ports) {
		w.t.Errorf("there are %d listeners, %d target groups and %d claimed ports; want %d of each", len(listeners), len(groups), len(claim.Ports), len(ports))
		return
	}
	for n, p := range claim.Ports {
		if p.ListenerPort != ports[n] {
			w.t.Errorf("port %q is claimed on %d, want %d", p.Name, p.ListenerPort, ports[n])
		}
		at := slices.IndexFunc(listeners, func(l elb.Listener) bool { return l.Port == p.ListenerPort })
		if at < 0 || p.ListenerARN != listeners[at].ARN || !slices.Equal(listeners[at].TargetGroupARNs, []string{p.TargetGroupARN}) {
			w.t.Errorf("listeners are %+v, the ledger has %+v", listeners, p)
			continue
		}
		targets := must[[]elb.Target](w)(w.aws.Targets(w.t.Context(), p.TargetGroupARN))
		targets = slices.DeleteFunc(targets, elb.Target.Leaving)
		if len(targets) != 1 || targets[0].IP != w.pod.IP || targets[0].Port != p.TargetPort {
			w.t.Errorf("targets of port %d are %+v", p.ListenerPort, targets)
		}
		tags := must[map[string]map[string]string](w)(w.aws.Tags(w.t.Context(), p.ListenerARN, p.TargetGroupARN))
		for arn, m := range tags {
			if got, ok := elb.ReadTags(m); !ok || got != elb.TagsOf(claim, p.Fence) {
				w.t.Errorf("%s carries %v", arn, m)
			}
		}
	}
}

// checkEmpty asserts that nothing is left in the account.
func (w *world) checkEmpty() {
	w.t.Helper()
	if listeners := must[[]elb.Listener](w)(w.aws.Listeners(w.t.Context(), w.lb)); len(listeners) != 0 {
		w.t.Errorf("listeners are left: %+v", listeners)
	}
	if groups := must[[]elb.TargetGroup](w)(w.aws.TargetGroups(w.t.Context())); len(groups) != 0 {
		w.t.Errorf("target groups are left: %+v", groups)
	}
}

func (l *ledger) now() api.Claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim == nil {
		return api.Claim{}
	}
	return l.copy()
}

func must[T any](w *world) func(T, error) T {
	return func(v T, err error) T {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return v
	}
}
