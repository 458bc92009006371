package lifecycle_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// The event says what to do, and the pod is bound as soon as the failure is resolved.
func TestEachPersistentFailureIsOneEvent(t *testing.T) {
	refuse := func(action string, status int, code, message string) func(*world) {
		return func(w *world) {
			w.setFault(func(c elbemu.Call) elbemu.Fault {
				if c.AccessKeyID == "AGENT" && c.Action == action {
					return elbemu.Refuse(status, code, message)
				}
				return elbemu.Fault{}
			})
		}
	}
	allocator := func(err error) func(*world) {
		return func(w *world) { w.ledger.change(func() { w.ledger.refuse = func(string) error { return err } }) }
	}
	for reason, c := range map[string]struct {
		begin func(*world)
		says  []string
	}{
		"AWSThrottled":         {refuse("CreateListener", http.StatusBadRequest, "Throttling", "Rate exceeded"), []string{"throttled"}},
		"AccessDenied":         {refuse("CreateTargetGroup", http.StatusForbidden, "AccessDenied", "no"), []string{"elasticloadbalancing:CreateTargetGroup", "policies"}},
		"NoCredentials":        {func(w *world) { w.noCredentials.Store(&errNoRole) }, []string{"AssumeRoleWithWebIdentity", "Pod Identity association"}},
		"AWSQuotaReached":      {refuse("CreateTargetGroup", http.StatusBadRequest, "TooManyTargetGroups", "3000 it is"), []string{"quota", "3000 it is"}},
		"AWSNotFound":          {refuse("RegisterTargets", http.StatusBadRequest, "TargetGroupNotFound", "gone"), []string{"gone"}},
		"AWSRefused":           {refuse("RegisterTargets", http.StatusBadRequest, "ValidationError", "not within the VPC"), []string{"not within the VPC"}},
		"PoolExhausted":        {allocator(api.Errorf(api.Exhausted, "no port is free").WithRetryAfter(time.Second)), []string{"no port is free"}},
		"ClaimInvalid":         {allocator(api.Errorf(api.Invalid, "pool p does not exist")), []string{"pool p does not exist"}},
		"AllocatorUnreachable": {allocator(errors.New("connection refused")), []string{"connection refused", "bound ports stay"}},
		"AllocatorUnavailable": {allocator(api.Errorf(api.Unavailable, "no API server")), []string{"no API server"}},
	} {
		t.Run(reason, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				c.begin(w)
				p := w.start()
				time.Sleep(30 * time.Minute)
				synctest.Wait()
				events := w.ownPod.recorded()
				if !slices.Equal(events, []string{reason}) {
					t.Errorf("events are %v, want one %s", events, reason)
				}
				for _, part := range c.says {
					if !strings.Contains(w.ownPod.message(), part) {
						t.Errorf("%q does not say %q", w.ownPod.message(), part)
					}
				}
				w.setFault(nil)
				w.noCredentials.Store(nil)
				w.ledger.change(func() { w.ledger.refuse = nil })
				w.awaitReady(p)
				p.term()
				w.checkEmpty()
			})
		})
	}
}

// The claim of a pod that cannot be bound waits behind those that can.
func TestAllocatorIsToldWhyBindingFailed(t *testing.T) {
	answer := func(action string, status int, code string) func(*world) {
		return func(w *world) {
			w.setFault(func(c elbemu.Call) elbemu.Fault {
				if c.AccessKeyID == "AGENT" && c.Action == action {
					return elbemu.Refuse(status, code, "no")
				}
				return elbemu.Fault{}
			})
		}
	}
	for kind, begin := range map[api.FailureKind]func(*world){
		api.FailedDenied:      answer("CreateListener", http.StatusForbidden, "AccessDenied"),
		api.FailedRefused:     answer("RegisterTargets", http.StatusBadRequest, "ValidationError"),
		api.FailedCredentials: func(w *world) { w.noCredentials.Store(&errNoRole) },
		"":                    answer("CreateListener", http.StatusBadRequest, "Throttling"),
	} {
		t.Run(string(kind), func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				begin(w)
				p := w.start()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				w.ledger.change(func() {
					// Without credentials it cannot even create the target group.
					first := map[bool]int{true: 1, false: 2}[kind == api.FailedCredentials]
					for n, failed := range w.ledger.failed {
						if want := map[bool]api.FailureKind{n >= first: kind}[true]; failed != want {
							t.Errorf("call %d reports %q, want %q", n, failed, want)
						}
					}
					w.ledger.failed = nil
				})
				w.setFault(nil)
				w.noCredentials.Store(nil)
				w.awaitReady(p)
				time.Sleep(time.Hour)
				w.ledger.change(func() {
					if rest := w.ledger.failed[1:]; slices.ContainsFunc(rest, func(k api.FailureKind) bool { return k != "" }) {
						t.Errorf("it is bound and reports %v", rest)
					}
				})
				p.term()
			})
		})
	}
}

var errNoRole = errors.New("operation error STS: AssumeRoleWithWebIdentity, AccessDenied")

func TestTransientFailureIsNoEvent(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		throttled := 0
		w.setFault(func(c elbemu.Call) elbemu.Fault {
			if c.AccessKeyID == "AGENT" && c.Action == "CreateListener" && throttled < 2 {
				throttled++
				return elbemu.Throttle()
			}
			return elbemu.Fault{}
		})
		p := w.start()
		w.awaitReady(p)
		if events := w.ownPod.recorded(); !slices.Equal(events, []string{"Announced"}) {
			t.Errorf("events are %v", events)
		}
		p.term()
	})
}

func TestUnreachableAllocatorIsAnEventEachTime(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		for range 2 {
			before := len(w.ownPod.all())
			w.ledger.change(func() { w.ledger.refuse = func(string) error { return errors.New("connection refused") } })
			time.Sleep(10 * time.Minute)
			w.ledger.change(func() { w.ledger.refuse = nil })
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if news := w.ownPod.all()[before:]; !slices.Contains(news, "AllocatorUnreachable") {
				t.Errorf("events are %v", news)
			}
		}
		if p.Ready() != nil || w.announced() == "" {
			t.Errorf("ready: %v, announced %q", p.Ready(), w.announced())
		}
		p.term()
	})
}
