// Package binder makes and deletes the bindings of one pod: the target group, target
// and listener of each port of its claim. It is the agent's only package that calls
// ELBv2.
//
// The ledger and AWS are the truth. Every step may be repeated, so a binder that
// starts over compares what it finds with what should be there and goes on. It
// changes or deletes only what carries the tags of its own fence. A bound port
// does not pass traffic at once: AWS takes up to minutes to forward.
package binder

import (
	"context"
	"log/slog"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Config is what a Binder needs; all of it is required.
type Config struct {
	Pod          pod.Identity
	LoadBalancer LoadBalancer
	Reports      Reports
	Clock        clock.Clock
	// Jitter gives numbers in [0,1).
	Jitter   func() float64
	Failures failure.Log
	Log      *slog.Logger
}

// Reports record in the ledger what was created. Each answers lost when the claim
// or fence is over.
type Reports interface {
	// TargetGroup gets the license to create the listener.
	TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error
	Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error
}

// LoadBalancer is what the binder calls in ELBv2. After an error that is none of
// package elb's sentinels the outcome is unknown.
type LoadBalancer interface {
	Creates
	Describes
	Deletes
}

// Creates are idempotent. Success does not prove who created the resource.
type Creates interface {
	CreateTargetGroup(ctx context.Context, spec elb.TargetGroupSpec) (arn string, err error)
	RegisterTarget(ctx context.Context, targetGroupARN, ip string, port int) error
	DeregisterTargets(ctx context.Context, targetGroupARN string, targets []elb.Target) error
	CreateListener(ctx context.Context, spec elb.ListenerSpec) (arn string, err error)
	SetAttributes(ctx context.Context, targetGroupARN string, attributes map[string]string) error
}

// Describes read AWS, and may miss what was created a moment ago. Tags leaves out
// ARNs that do not exist.
type Describes interface {
	Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
}

// Deletes delete by ARN; absent is success.
type Deletes interface {
	DeleteListener(ctx context.Context, arn string) error
	// DeleteTargetGroup answers elb.ErrInUse while a listener forwards to it, and
	// for some seconds after that listener was deleted.
	DeleteTargetGroup(ctx context.Context, arn string) error
}

// Binder is for one goroutine.
type Binder struct {
	Config

	throttled int
}

// New makes a binder. It calls nothing yet.
func New(c Config) *Binder { return &Binder{Config: c} }

// Throttled is how many calls AWS throttled and the allocator was not told of yet.
func (b *Binder) Throttled() int { return b.throttled }

// ThrottledReported notes that the allocator was told of so many throttled calls.
func (b *Binder) ThrottledReported(calls int) { b.throttled -= calls }

func (b *Binder) countThrottled(err error) { b.throttled += failure.ThrottledCalls(err) }
