package claim

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// Holder is the authenticated pod that calls.
type Holder struct {
	Namespace, Pod, UID string
	// Address is where its call came from; empty if that is not known.
	Address string
}

// Pools is what may be handed out.
type Pools interface {
	// Pool returns false for an unknown name.
	Pool(name string) (pool.Pool, bool)
	Names() []string
	// Inspect describes a load balancer in AWS. Pool includes what it found from
	// then on.
	Inspect(ctx context.Context, loadBalancerARN string) (pool.Inspection, error)
	// ListenerOwner reads from a listener's tags whose it is.
	ListenerOwner(ctx context.Context, listenerARN string) (pool.Owner, error)
}

// Budget paces the calls to AWS.
type Budget interface {
	// Bind reserves the calls of one attempt to bind the ports that are not bound,
	// and to check the others. A positive wait means that it is too early.
	// throttled is how many calls of this pod AWS has throttled.
	Bind(ctx context.Context, c ledger.Record[ledger.Claim], ports []ledger.Port, throttled int) (wait time.Duration, err error)
	// ReserveDescribes reserves at most that many describe calls. A positive wait
	// means that it is too early for any.
	ReserveDescribes(ctx context.Context, calls int) (reserved int, wait time.Duration, err error)
	// TryOpportunistic reserves the calls with which an agent deregisters its targets and
	// deletes its bindings, if nobody else needs them. Otherwise the janitor deletes them
	// with fewer calls.
	TryOpportunistic(ctx context.Context, claim string, bindings int) (bool, error)
	// Deregister reserves the calls that deregister the targets of that many bindings, and
	// so many Describe calls.
	Deregister(ctx context.Context, requester string, bindings, describes int) (bool, error)
	// Throttled reports that AWS has throttled calls of a claim's agent.
	Throttled(ctx context.Context, claim string, calls int) error
}

// Config is what a Service needs; all of it is required.
type Config struct {
	Ledger string
	Claims ledger.Claims
	Ports  ledger.Ports
	Pools  Pools
	// GetPod is a consistent read of one pod; nil if there is none.
	GetPod func(ctx context.Context, namespace, pod string) (*ledger.Pod, error)
	// TargetGroupName derives a name from the fence.
	TargetGroupName func(ledgerID string, f api.Fence) string
	// Duration of a claim without renewal, and how often agents renew.
	Duration, RenewEvery time.Duration
	// UnbindEvery is in what time the AWS budget lets one port come free.
	UnbindEvery func() time.Duration
	// ReturnPatience is how long a pod waits for its previous port to be unbound.
	ReturnPatience time.Duration
	// Propagation is how long AWS usually takes until all of it knows what was created, and
	// InUseWindow for how long it reports a target group as in use after its listener was
	// deleted. Agents are told of both.
	Propagation, InUseWindow time.Duration
	Budget                   Budget
	// Age is how long this process has seen a lease unchanged; 0 if it has not
	// seen it yet.
	Age func(name, version string) time.Duration
	// Count counts claims by result and pool, for metrics.
	Count func(result, pool string)
	// Passed is told how long a pod took to a milestone, for metrics.
	Passed func(milestone, pool string, took time.Duration)
	Now    func() time.Time
	// NewEpoch returns a word that it has never returned before, in any process.
	NewEpoch func() string
	// Both runs two functions and returns once both have ended: AtOnce, except where a test
	// decides which call comes first.
	Both func(ctx context.Context, first, second func(context.Context))
	// WakeJanitor tells the janitor that there is work; it must not block.
	WakeJanitor func()
	Log         *slog.Logger
}

// Service answers the calls of pods. Any number of them may work on one ledger.
type Service struct {
	Config
	// turns has a place for each claim that is being worked on.
	turns  chan struct{}
	stocks stocks
}

// concurrency is how many claims are worked on at a time. If a whole fleet started
// at once and all its claims were worked on together, the first would be done no
// sooner than the last, and AWS would be idle until then.
const concurrency = 8

// New makes a Service.
func New(c Config) *Service { return &Service{Config: c, turns: make(chan struct{}, concurrency)} }

// AtOnce runs both functions at the same time, so that the calls of both to the API server are
// on their way together.
func AtOnce(ctx context.Context, first, second func(context.Context)) {
	var running sync.WaitGroup
	running.Go(func() { second(ctx) })
	first(ctx)
	running.Wait()
}
