package elbemu_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
)

// once applies the fault to the first call of the action; all other calls pass.
func once(action string, fault elbemu.Fault) func(elbemu.Call) elbemu.Fault {
	met := false
	return func(c elbemu.Call) elbemu.Fault {
		if met || c.Action != action {
			return elbemu.Fault{}
		}
		met = true
		return fault
	}
}

func TestFaults(t *testing.T) {
	rows := []struct {
		name    string
		fault   elbemu.Fault
		code    string // empty: no answer of the API
		status  int
		applied bool
	}{
		{"not applied", elbemu.NotApplied(), "", 0, false},
		{"answer lost", elbemu.AnswerLost(), "", 0, true},
		{"throttled", elbemu.Throttle(), "Throttling", 400, false},
		{"server error", elbemu.ServerError(), "InternalFailure", 500, false},
		{"server error although applied", elbemu.ServerErrorApplied(), "InternalFailure", 500, true},
		{"refused", elbemu.Refuse(403, "AccessDenied", "no"), "AccessDenied", 403, false},
		{"held forever", elbemu.HoldCut(&elbemu.Held{}), "", 0, false},
		{"contradiction", elbemu.Fault{Apply: elbemu.ApplyNever}, "InternalFailure", 500, false},
	}
	transports := map[string]func(*testing.T, *elbemu.Emulator) *elb.Client{
		"in memory":   func(_ *testing.T, e *elbemu.Emulator) *elb.Client { return newClient(e) },
		"over socket": overSocket,
	}
	for _, row := range rows {
		for how, client := range transports {
			t.Run(row.name+" "+how, func(t *testing.T) {
				e := newEmulator(t, elbemu.Config{})
				e.SetFault(once("CreateTargetGroup", row.fault))
				_, err := client(t, e).CreateTargetGroup(t.Context(), groupInput("g", types.ProtocolEnumTcp, 80))
				if err == nil {
					t.Fatal("the call succeeded")
				}
				if api := (smithy.APIError)(nil); errors.As(err, &api) != (row.code != "") {
					t.Fatalf("answer: %v", err)
				} else if row.code != "" && (api.ErrorCode() != row.code || statusOf(err) != row.status) {
					t.Fatalf("answer: %v, want %s with HTTP %d", err, row.code, row.status)
				}
				if got := len(e.Snapshot().TargetGroups) == 1; got != row.applied {
					t.Fatalf("applied: %v, want %v", got, row.applied)
				}
			})
		}
	}
}

func statusOf(err error) int {
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// overSocket returns a client that calls the emulator through a real HTTP server.
func overSocket(t *testing.T, e *elbemu.Emulator) *elb.Client {
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return elb.New(elb.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: staticKey("AKIDTEST"), Retryer: aws.NopRetryer{},
	})
}

func TestHeldCallIsAppliedLate(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	var held elbemu.Held
	if _, ok := held.Apply(); ok {
		t.Fatal("applied before it arrived")
	}
	w.e.SetFault(once("CreateListener", elbemu.HoldCut(&held)))
	if _, err := w.CreateListener(t.Context(), listenerInput(lb, group, types.ProtocolEnumUdp, 30000)); err == nil {
		t.Fatal("the held call was answered")
	}
	if _, err := w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &group}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		outcome, ok := held.Apply()
		if !ok || outcome.Code != "TargetGroupNotFound" || outcome.Status != 400 {
			t.Fatalf("outcome: %+v, %v", outcome, ok)
		}
	}
	call, ok := held.Call()
	if !ok || call.Action != "CreateListener" || call.Params.Get("Port") != "30000" || call.AccessKeyID != "AKIDTEST" {
		t.Fatalf("call: %+v", call)
	}
	if n := w.e.CallCounts()["CreateListener"].Total; n != 1 {
		t.Fatalf("applied %d times", n)
	}
}

func TestHangingCallEndsWhenItsCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, elbemu.Config{})
		var held elbemu.Held
		w.e.SetFault(once("CreateTargetGroup", elbemu.HoldHanging(&held)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		_, err := w.CreateTargetGroup(ctx, groupInput("g", types.ProtocolEnumTcp, 80))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Fatalf("after %v: %v", time.Since(begun), err)
		}
		if outcome, ok := held.Apply(); !ok || !outcome.OK() {
			t.Fatalf("outcome: %+v", outcome)
		}
		if len(w.e.Snapshot().TargetGroups) != 1 {
			t.Fatal("not applied")
		}
	})
}

func TestCloseEndsHangingCalls(t *testing.T) {
	e, err := elbemu.New(elbemu.Config{})
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	e.SetFault(func(elbemu.Call) elbemu.Fault {
		return elbemu.Fault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerHang, Before: func(context.Context) { close(arrived) }}
	})
	ended := make(chan error)
	go func() {
		_, err := newClient(e).DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{})
		ended <- err
	}()
	<-arrived
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Fatal("the hanging call succeeded")
	}
}

func TestHooksBlockBeforeAndAfterApplication(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	before, after, proceed := make(chan struct{}), make(chan elbemu.Outcome), make(chan struct{})
	w.e.SetFault(once("CreateTargetGroup", elbemu.Fault{
		Before: func(context.Context) { before <- struct{}{}; <-proceed },
		After:  func(o elbemu.Outcome) { after <- o; <-proceed },
	}))
	ended := make(chan error)
	go func() {
		_, err := w.CreateTargetGroup(t.Context(), groupInput("g", types.ProtocolEnumTcp, 80))
		ended <- err
	}()
	<-before
	if n := len(w.e.Snapshot().TargetGroups); n != 0 {
		t.Fatal("applied before the hook returned")
	}
	proceed <- struct{}{}
	if o := <-after; !o.OK() || o.Status != http.StatusOK || o.RequestID == "" {
		t.Fatalf("outcome: %+v", o)
	}
	if n := len(w.e.Snapshot().TargetGroups); n != 1 {
		t.Fatal("not applied although the hook says so")
	}
	proceed <- struct{}{}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestDelayedCallIsNotAppliedIfItsCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, elbemu.Config{})
		w.e.SetFault(func(elbemu.Call) elbemu.Fault { return elbemu.Fault{Delay: 3 * time.Second} })
		begun := time.Now()
		w.targetGroup("g", types.ProtocolEnumTcp, 80)
		if took := time.Since(begun); took != 3*time.Second {
			t.Fatalf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.CreateTargetGroup(ctx, groupInput("late", types.ProtocolEnumTcp, 80)); err == nil {
			t.Fatal("the caller had gone")
		}
		if n := len(w.e.Snapshot().TargetGroups); n != 1 {
			t.Fatalf("%d target groups; the call of a caller that went away was applied", n)
		}
	})
}

func TestCallLogNamesEveryCall(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	w.targetGroup("g", types.ProtocolEnumTcp, 80)
	w.e.SetFault(once("DescribeTargetGroups", elbemu.Throttle()))
	_, err := w.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{})
	wantCode(t, err, "Throttling")
	w.e.SetFault(nil)
	_, err = w.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{"absent"}})
	wantCode(t, err, "TargetGroupNotFound")

	var got []string
	for _, r := range w.e.Calls() {
		if r.AccessKeyID != "AKIDTEST" || r.At.IsZero() || r.Seq != uint64(len(got)+1) {
			t.Errorf("record: %+v", r)
		}
		got = append(got, r.Action+" "+r.Outcome.Code)
	}
	want := []string{"CreateTargetGroup ", "DescribeTargetGroups Throttling", "DescribeTargetGroups TargetGroupNotFound"}
	if !slices.Equal(got, want) {
		t.Fatalf("log: %q", got)
	}
	if c := w.e.CallCounts()["DescribeTargetGroups"]; c != (elbemu.CallCount{Total: 2, Failed: 2, Throttled: 1}) {
		t.Fatalf("counts: %+v", c)
	}
}

func TestCallLogIsBounded(t *testing.T) {
	e := newEmulator(t, elbemu.Config{})
	const more = 10_050
	for range more {
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	}
	calls := e.Calls()
	if len(calls) != 10_000 || calls[0].Seq != 51 || calls[len(calls)-1].Seq != more {
		t.Fatalf("%d calls from %d to %d", len(calls), calls[0].Seq, calls[len(calls)-1].Seq)
	}
}
