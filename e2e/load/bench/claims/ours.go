package claims

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/e2e/load/cost"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// ours claims through the allocators.
type ours struct {
	*site.Site
	replicas []*rig.Replica
	pids     []int
	// callers are spread over the replicas.
	callers []*site.Caller
}

// oursRound is one round of claims through the allocators.
type oursRound struct {
	timing
	// claims are those of the pods.
	claims []api.Claim
	// refused is how many calls were told to ask again.
	refused int64
	// processor is the allocators' CPU time, calls is how many requests the API server
	// answered for them.
	processor time.Duration
	calls     int
	// resident is the memory of the largest allocator, in MiB.
	resident float64
}

func newOurs(s *site.Site, replicas []*rig.Replica, callers int) *ours {
	o := &ours{Site: s, replicas: replicas}
	for _, a := range replicas {
		o.pids = append(o.pids, a.PID())
	}
	for i := range callers {
		o.callers = append(o.callers, s.NewCaller(i+1, replicas[i%len(replicas)]))
	}
	return o
}

func (o *ours) close() {
	for _, c := range o.callers {
		c.Close()
	}
}

func (o *ours) processorTime() (time.Duration, error) { return cost.ProcessorTime(o.pids...) }

// round makes first claims for all pods.
func (o *ours) round(ctx context.Context, pods []*site.Pod) (r oursRound, err error) {
	if err := o.NewTokens(ctx, pods); err != nil {
		return r, err
	}
	callsBefore, err := o.APICalls(ctx)
	if err != nil {
		return r, err
	}
	processorBefore, err := o.processorTime()
	if err != nil {
		return r, err
	}
	claims := make([]api.Claim, len(pods))
	var refused atomic.Int64
	r.timing, err = race(ctx, len(o.callers), len(pods), func(ctx context.Context, caller, pod int) error {
		return o.claim(ctx, o.callers[caller], pods[pod], &claims[pod], &refused)
	})
	if err != nil {
		return r, err
	}
	processorAfter, err := o.processorTime()
	if err != nil {
		return r, err
	}
	calls, err := o.APICalls(ctx)
	if err != nil {
		return r, err
	}
	r.claims, r.refused = claims, refused.Load()
	r.processor, r.calls = processorAfter-processorBefore, calls.Since(callsBefore)
	for _, pid := range o.pids {
		m, err := cost.MemoryOf(pid)
		if err != nil {
			return r, err
		}
		r.resident = max(r.resident, m.Resident)
	}
	return r, nil
}

// claim asks until the pod holds its ports, and as late as it is told to.
func (o *ours) claim(ctx context.Context, c *site.Caller, p *site.Pod, claim *api.Claim, refused *atomic.Int64) error {
	for {
		answer, err := c.Call(ctx, p, http.MethodPut, "", site.ClaimOf(p))
		switch {
		case err != nil:
			return err
		case answer.OK():
			if err := json.Unmarshal(answer.Body, claim); err != nil {
				return fmt.Errorf("reading the claim of %s: %w", p.Name, err)
			}
			if len(claim.Ports) != len(site.Ports) {
				return fmt.Errorf("the claim of %s has no ports: %s", p.Name, answer.Body)
			}
			return nil
		case !answer.Retry():
			return fmt.Errorf("claiming for %s: status %d: %s", p.Name, answer.Status, answer.Body)
		}
		refused.Add(1)
		if scenario.Wait(ctx, answer.RetryAfter); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// clear deletes what a round has left in the ledger, and waits until all replicas know.
func (o *ours) clear(ctx context.Context, pods []*site.Pod, r oursRound) error {
	leases := o.Objects.CoordinationV1().Leases(o.Namespace)
	err := site.Each(ctx, len(pods), func(ctx context.Context, i int) error {
		for _, name := range []string{ledger.ClaimName(pods[i].UID), r.claims[i].Ports[0].Fence.Lease} {
			if err := leases.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("clearing the ledger: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range o.replicas {
		if err := rig.Eventually(ctx, a.Name()+" to know that the ledger was cleared", func() error { return o.cleared(ctx, a) }); err != nil {
			return err
		}
	}
	return nil
}

func (o *ours) cleared(ctx context.Context, a *rig.Replica) error {
	page, err := a.Metrics(ctx)
	if err != nil {
		return err
	}
	for _, kind := range []string{"claim", "port"} {
		known, err := rig.Sample(page, fmt.Sprintf("portlease_cached_leases{kind=%q}", kind))
		if err != nil {
			return err
		}
		if int(known) != o.Filled() {
			return fmt.Errorf("it knows %v Leases of kind %s, and %d are left", known, kind, o.Filled())
		}
	}
	return nil
}
