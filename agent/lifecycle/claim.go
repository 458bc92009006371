package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

// Claims gives a pod the right to its listener ports.
type Claims interface {
	// Claim answers the same pod with the same claim, in whatever state that is.
	Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error)
	// Renew extends a claim. Only lost ends it; all other errors are transient.
	Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error)
	// ReportCollision answers the claim to go on with.
	ReportCollision(ctx context.Context, namespace, pod string, r api.CollisionRequest) (api.Claim, error)
}

// errMoved ends a phase when the ledger gave the claim other ports.
var errMoved = errors.New("the claim has other ports now")

// leastRenewal guards against an answer that asks for renewals without pause.
const leastRenewal = time.Second

// claims is the claim phase, and the later calls about the claim. Each call takes
// over what the ledger answers.
type claims struct {
	env
	allocator  Claims
	binder     *binder.Binder
	reach      *reachability
	counters   counters
	milestones *milestones
	pod        pod.Identity
	pool       string
	ports      []api.Port
	healthPort int
	// previousIPDeregistered is AddressChanges of the claim whose previous IP was
	// deregistered.
	previousIPDeregistered int
	// failed is why the last attempt to bind failed, until the allocator was told.
	failed api.FailureKind
}

// acquire asks until there is a claim or ctx is over. No error makes it give up: the
// pool may get a free port, an admin may correct a setting.
func (c *claims) acquire(ctx context.Context, h *holding.Holding) error {
	return c.retry(ctx, "failed to claim ports; retrying", func() (bool, error) {
		err := c.request(ctx, h)
		return err == nil, err
	})
}

func (c *claims) request(ctx context.Context, h *holding.Holding) error {
	throttled := c.binder.Throttled()
	claim, err := c.allocator.Claim(ctx, c.pod.Namespace, c.pod.Name, api.ClaimRequest{
		PodUID: c.pod.UID, PodIP: c.pod.IP, Pool: c.pool, Ports: c.ports, HealthPort: c.healthPort,
		Throttled: throttled, Failed: c.failed, PreviousIPDeregistered: c.previousIPDeregistered,
	})
	if err != nil {
		return err
	}
	if _, err := c.adopt(ctx, h, claim); err != nil {
		return err
	}
	c.told(throttled)
	return nil
}

// retry attempts something until it is done or ctx is over, and returns its last
// error. It reports failures and backs off between attempts.
func (c *claims) retry(ctx context.Context, message string, attempt func() (done bool, err error)) error {
	failures := c.reporter.NewFailures()
	var wait backoff.Backoff
	var waiting time.Time
	told := false
	for {
		done, err := attempt()
		switch {
		case done:
			if told {
				c.reach.obstructed(claiming())
			}
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if waiting.IsZero() {
			waiting = c.clock.Now()
		}
		reason, text := failures.Report(ctx, message, err)
		if errors.Is(err, api.ErrExhausted) {
			text += ", waiting since " + waiting.UTC().Format(time.RFC3339)
		}
		told = c.reach.failed(reason, text) || told
		if err := c.clock.Sleep(ctx, wait.Next(err, c.jitter)); err != nil {
			return err
		}
	}
}

// refresh asks for the claim again before the next calls to AWS, which the budget has to
// grant anew. A pod with a binding presents it, so that a ledger that has lost the claim
// adopts it instead of granting another port; and renewing never waits behind new claims.
func (c *claims) refresh(ctx context.Context, h *holding.Holding) error {
	if !h.HasListener() && !h.HasTargetGroup() {
		return c.acquire(ctx, h)
	}
	return c.retry(ctx, "failed to renew the claim; retrying", func() (bool, error) {
		_, _, err := c.renew(ctx, h, 0)
		return err == nil || errors.Is(err, api.ErrLost), err
	})
}

// renew extends the claim once. Ports whose binding the janitor saw damaged become
// unbound. describes is how many describe calls to ask for.
func (c *claims) renew(ctx context.Context, h *holding.Holding, describes int) (answer api.RenewAnswer, moved bool, err error) {
	throttled := c.binder.Throttled()
	answer, err = c.allocator.Renew(ctx, c.pod.Namespace, c.pod.Name, api.RenewRequest{
		ClaimUID: h.Claim.UID, PodIP: c.pod.IP, Pool: c.pool, Ports: h.Presented(), Throttled: throttled, Failed: c.failed, Describes: describes,
		Milestones: c.milestones.news(),
	})
	if err != nil {
		return answer, false, err
	}
	if err := c.check(answer.Claim); err != nil {
		return answer, false, err
	}
	c.told(throttled)
	c.milestones.tell()
	c.counters.renewals.Inc()
	moved = h.Adopt(answer.Claim)
	for _, p := range h.Claim.Ports {
		if slices.Contains(answer.Rebind, p.Fence.Lease) && h.Binding(p).Bound {
			h.MarkDamaged(p.Fence)
			c.log.WarnContext(ctx, "the janitor found the binding damaged; repairing it", "port", p.ListenerPort, "lease", p.Fence.Lease)
		}
	}
	return answer, moved, nil
}

// told notes that the allocator was told how binding went.
func (c *claims) told(throttled int) {
	c.binder.ThrottledReported(throttled)
	c.failed = ""
}

// nextRenewal is the time of the next renewal: after a part of the claim's interval,
// spread by a tenth to either side.
func (c *claims) nextRenewal(h *holding.Holding, part int) time.Time {
	d := time.Duration(h.Claim.RenewSeconds * float64(time.Second) / float64(part))
	return c.clock.Now().Add(clock.Around(max(d, leastRenewal), c.jitter))
}

// reportCollision reports that no listener can be created on a port. moved is whether
// the claim has other ports from now on; it keeps its ports when the allocator does
// not see a foreign listener.
func (c *claims) reportCollision(ctx context.Context, h *holding.Holding, p api.ClaimedPort) (moved bool, err error) {
	c.counters.collisions.Inc()
	claim, err := c.allocator.ReportCollision(ctx, c.pod.Namespace, c.pod.Name, api.CollisionRequest{ClaimUID: h.Claim.UID, Fence: p.Fence})
	if err != nil {
		return false, err
	}
	return c.adopt(ctx, h, claim)
}

func (c *claims) adopt(ctx context.Context, h *holding.Holding, claim api.Claim) (moved bool, err error) {
	if err := c.check(claim); err != nil {
		return false, err
	}
	moved = h.Adopt(claim)
	if moved {
		for _, p := range claim.Ports {
			c.log.InfoContext(ctx, "port claimed", "port", p.ListenerPort, "targetPort", p.TargetPort,
				"lease", p.Fence.Lease, "generation", p.Fence.Generation)
		}
	}
	return moved, nil
}

// check refuses a claim that is not the requested one: binding it could change
// another pod's resources.
func (c *claims) check(claim api.Claim) error {
	switch {
	case claim.UID == "" || claim.Ledger == "":
		return errors.New("the granted claim has no UID or no ledger")
	case claim.PodUID != c.pod.UID || claim.Namespace != c.pod.Namespace || claim.Pod != c.pod.Name:
		return fmt.Errorf("the granted claim belongs to pod %s/%s with UID %s", claim.Namespace, claim.Pod, claim.PodUID)
	case len(claim.Ports) != len(c.ports):
		return fmt.Errorf("the granted claim has %d ports, the pod requested %d", len(claim.Ports), len(c.ports))
	}
	for i, p := range claim.Ports {
		if p.Port != c.ports[i] {
			return fmt.Errorf("the granted claim has port %+v instead of %+v", p.Port, c.ports[i])
		}
	}
	return nil
}
