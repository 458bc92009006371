package hostile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// These neighbors spend, or slow down, what all pods share: AWS's token buckets.

const budgetSpeed = "portlease_aws_budget_speed_ratio"

// lowest follows a metric of the leader and keeps its lowest value, until ctx ends.
type lowest struct {
	w *world
	// throttled is how many calls AWS itself had throttled when it began.
	throttled int

	mu    sync.Mutex
	value float64
	err   error
}

func (w *world) follow(ctx context.Context, sample string) *lowest {
	l := &lowest{w: w, throttled: w.throttled(), value: 1}
	go func() {
		for ; ctx.Err() == nil; scenario.Wait(ctx, 200*time.Millisecond) {
			value, err := w.LeaderMetric(ctx, sample)
			l.mu.Lock()
			switch {
			case err == nil:
				l.value = min(l.value, value)
			case ctx.Err() == nil:
				l.err = err
			}
			l.mu.Unlock()
		}
	}()
	return l
}

// get returns the lowest value. It fails if AWS has throttled any call meanwhile: then a
// low speed may be right, whatever pods report.
func (l *lowest) get() (float64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.w.throttled() - l.throttled; n > 0 && l.err == nil {
		return l.value, fmt.Errorf("AWS itself throttled %d calls", n)
	}
	return l.value, l.err
}

// throttled is how many calls AWS has throttled so far, by its own count.
func (w *world) throttled() (n int) {
	for _, c := range w.Emulator.CallCounts() {
		n += c.Throttled
	}
	return n
}

// stillFast is the least speed that counts as full. It recovers slowly after a cut.
const stillFast = 0.99

// judgeSpeed says whether somebody has slowed down all callers.
func judgeSpeed(l *lowest) judge {
	return func(context.Context) (outcome, error) {
		speed, err := l.get()
		if err != nil {
			return outcome{}, err
		}
		if speed < stillFast {
			return got(true, "all calls to AWS at %.2f of their speed", speed)
		}
		return got(false, "all calls to AWS keep their speed, and AWS itself throttled none")
	}
}

// reportThrottling reports throttled calls without holding any claim.
func reportThrottling(ctx context.Context, w *world) (judge, error) {
	const liars = 5
	speed := w.follow(ctx, budgetSpeed)
	for n := range liars {
		a, err := w.newAttacker(ctx)
		if err != nil {
			return nil, err
		}
		req := api.RenewRequest{ClaimUID: "none", PodIP: a.IP, Pool: poolOpen, Throttled: 100}
		if given, err := a.call(ctx, w.Replicas[0], http.MethodPost, api.CallRenew, req); err != nil || given.problem.Code != api.Lost {
			return nil, errors.Join(err, fmt.Errorf("a report of a pod without a claim was answered %v", given))
		}
		go func() {
			for ; ctx.Err() == nil; scenario.Wait(ctx, 500*time.Millisecond) {
				// The answers do not matter: the metric shows what the reports did.
				_, _ = a.call(ctx, w.Replicas[n%replicas], http.MethodPost, api.CallRenew, req)
			}
		}()
	}
	return judgeSpeed(speed), nil
}

// holdThrottled claims ports and says, of each grant of AWS calls, that they were
// throttled.
func holdThrottled(ctx context.Context, w *world) (judge, error) {
	speed := w.follow(ctx, budgetSpeed)
	a, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	req := api.ClaimRequest{PodUID: a.UID, PodIP: a.IP, Pool: poolOpen, Ports: []api.Port{gamePort}, HealthPort: 9901, Throttled: 100}
	go func() {
		for ; ctx.Err() == nil; scenario.Wait(ctx, 300*time.Millisecond) {
			_, _ = a.call(ctx, w.Replicas[0], http.MethodPut, "", req) // the metric shows what the reports did
		}
	}()
	return func(context.Context) (outcome, error) {
		value, err := speed.get()
		if err != nil {
			return outcome{}, err
		}
		// One pod whose calls were granted may be right: one step is allowed.
		const oneStep = 0.75
		if value < oneStep-(1-stillFast) {
			return got(true, "all calls to AWS at %.2f of their speed", value)
		}
		return got(false, "all calls to AWS at %.2f of their speed, one step; AWS itself throttled none", value)
	}, nil
}

// brokenPods try again every minute, each with two calls. That is a good part of what
// AWS allows even here.
const brokenPods = 120

// deployment is pods of one broken deployment, with real agents.
func (w *world) deployment(ctx context.Context, pods int, change func(*rig.Pod) error) (keys map[string]bool, err error) {
	keys = make(map[string]bool)
	all := make([]*rig.Pod, pods)
	first := w.named
	w.named += pods
	group, creating := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i := range all {
		group.Go(func() (err error) {
			if all[i], err = w.NewPod(creating, fmt.Sprintf("broken-%d", first+i), "game=7777/UDP"); err != nil {
				return err
			}
			return change(all[i])
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, p := range all {
		keys[p.AccessKey()] = true
		w.attackers = append(w.attackers, p)
		if err := p.Start(); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// deployDenied deploys pods whose IAM role lacks everything but reading.
func deployDenied(ctx context.Context, w *world) (judge, error) {
	const policy = `{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Action":"elasticloadbalancing:Describe*","Resource":"*"}]}`
	keys, err := w.deployment(ctx, brokenPods, func(p *rig.Pod) error {
		return w.Emulator.Restrict(p.AccessKey(), elbemu.Principal{Policy: []byte(policy), Tags: policies.SessionTags(w.Games, p.Name, p.UID)})
	})
	if err != nil {
		return nil, err
	}
	denied := func() (n int) {
		for _, c := range w.Emulator.Calls() {
			if keys[c.AccessKeyID] && c.Outcome.Code == "AccessDenied" {
				n++
			}
		}
		return n
	}
	// The deployment has been broken for a while when the honest pods come: each of its
	// pods was denied.
	waiting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := scenario.Poll(waiting, time.Second, func() error {
		if n := denied(); n < brokenPods {
			return fmt.Errorf("only %d calls were denied", n)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	scenario.Wait(ctx, 10*time.Second)
	before, began := denied(), time.Now()
	return func(context.Context) (outcome, error) {
		n, seconds := denied()-before, time.Since(began).Seconds()
		rate := float64(n) / seconds
		// A third of what AWS allows would keep the others waiting.
		most := elbemu.PublishedBuckets().Mutating.PerSecond * speed / 3
		return got(rate > most, "%d denied calls in %.0f s, %.1f of %.0f a second", n, seconds, rate, elbemu.PublishedBuckets().Mutating.PerSecond*speed)
	}, nil
}

// deployWithoutCredentials deploys pods to which Pod Identity gives no credentials: it
// is throttled itself.
func deployWithoutCredentials(ctx context.Context, w *world) (judge, error) {
	const pods = 20
	endpoint := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(out, `{"code":"ThrottlingException","message":"Rate exceeded"}`)
	}))
	context.AfterFunc(ctx, endpoint.Close)
	speed := w.follow(ctx, budgetSpeed)
	_, err := w.deployment(ctx, pods, func(p *rig.Pod) error {
		p.ConfigureAWS(func(c *aws.Config) { c.Credentials = aws.NewCredentialsCache(endpointcreds.New(endpoint.URL)) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	scenario.Wait(ctx, 3*refill)
	return judgeSpeed(speed), nil
}
