package lifecycle_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const podIP = "127.30.0.7"

// world is an AWS account, a ledger and one pod. It lives in a synctest bubble with its
// own time.
type world struct {
	t        *testing.T
	emulator *elbemu.Emulator
	aws      *elb.Client // of an admin
	ledger   *ledger
	lb       string
	dir      string
	pod      pod.Identity
	ports    []api.Port
	ownPod   *ownPod
	drain    time.Duration
	// listens reports whether the game listens; it does until stopListening.
	listens func() (bool, error)
	// game takes a look at the game; it runs unless dead.
	game atomic.Pointer[gameLook]
	// noCredentials is why the agent gets no AWS credentials; nil if it does.
	noCredentials atomic.Pointer[error]
	// dead is whether the game does not run.
	dead atomic.Bool
	// deaf is whether the game has stopped listening.
	deaf    atomic.Bool
	release time.Duration
	// deregister is 0 unless a story sets it.
	deregister time.Duration

	mu    sync.Mutex // guards fault
	fault func(elbemu.Call) elbemu.Fault
}

// inWorld runs a story in its own bubble.
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
			ports: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, ownPod: &ownPod{ending: &pod.Termination{Begun: true, Grace: 24 * time.Hour}},
			release: 25 * time.Second,
		}
		w.listens = func() (bool, error) { return !w.deaf.Load(), nil }
		w.setGame(func(context.Context) (string, error) {
			if w.dead.Load() {
				return "no process listens on game (7777/UDP)", nil
			}
			return "", nil
		})
		w.aws = w.client(emulator)
		w.lb = w.loadBalancer()
		w.ledger = newLedger(t, api.LoadBalancer{ARN: w.lb, Host: "games.elb.example", VPC: "vpc-local"})
		w.ledger.targets = w.targets
		emulator.SetFault(w.decide)
		story(t, w)
	})
}

// decide asserts that every CreateListener has its license, and then asks the story.
func (w *world) decide(call elbemu.Call) elbemu.Fault {
	if call.Action == "CreateListener" && call.AccessKeyID == "AGENT" {
		group := call.Params.Get("DefaultActions.member.1.TargetGroupArn")
		w.ledger.change(func() {
			if !w.ledger.recorded[group] {
				w.t.Errorf("CreateListener was sent before target group %s was recorded", group)
			}
		})
	}
	w.checkPreviousIP(call)
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

type gameLook func(context.Context) (problem string, err error)

func (w *world) setGame(look gameLook) { w.game.Store(&look) }

func (w *world) client(transport http.RoundTripper) *elb.Client {
	key := "PERSON"
	if transport != http.RoundTripper(w.emulator) {
		key = "AGENT"
	}
	return elb.New(aws.Config{
		Region: "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			if refused := w.noCredentials.Load(); refused != nil && key == "AGENT" {
				return aws.Credentials{}, *refused
			}
			return credentials.NewStaticCredentialsProvider(key, "secret", "").Retrieve(ctx)
		}),
		HTTPClient: &http.Client{Transport: transport},
	}, nil)
}

var arnPattern = regexp.MustCompile(`<LoadBalancerArn>([^<]+)<`)

func (w *world) loadBalancer() string { return w.namedLoadBalancer("games") }

func (w *world) namedLoadBalancer(name string) string {
	body := w.post(url.Values{"Action": {"CreateLoadBalancer"}, "Name": {name}, "Type": {"network"}, "Subnets.member.1": {"subnet-local-a"}})
	match := arnPattern.FindSubmatch(body)
	if match == nil {
		w.t.Fatalf("no load balancer in %s", body)
	}
	return string(match[1])
}

// retag changes a tag of a resource by hand.
func (w *world) retag(arn, key, value string) {
	w.post(url.Values{"Action": {"AddTags"}, "ResourceArns.member.1": {arn}, "Tags.member.1.Key": {key}, "Tags.member.1.Value": {value}})
}

// post makes a call to AWS that no client of portlease makes.
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

func (w *world) agentCalls(action string) int {
	n := 0
	for _, c := range w.emulator.Calls() {
		if c.Action == action && c.AccessKeyID == "AGENT" {
			n++
		}
	}
	return n
}

// foreignListener creates a listener without portlease's tags.
func (w *world) foreignListener(port int) string {
	group := must[string](w)(w.aws.CreateTargetGroup(w.t.Context(), elb.TargetGroupSpec{
		Name: "theirs", Protocol: api.UDP, Port: 1, VPC: "vpc-local", HealthCheck: api.HealthCheck{Protocol: "TCP", Port: 80},
	}))
	return must[string](w)(w.aws.CreateListener(w.t.Context(), elb.ListenerSpec{
		LoadBalancerARN: w.lb, Port: port, Protocol: api.UDP, TargetGroupARN: group,
	}))
}
