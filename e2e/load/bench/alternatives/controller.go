package alternatives

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"k8s.io/client-go/util/workqueue"
)

// controller is one controller with one worker and one work queue, as controller-runtime
// makes them by default.
type controller struct{ fleet }

// Controller is a controller with the defaults of its libraries.
func Controller() Alternative {
	return Alternative{
		Name: "one controller", Settings: "1 worker, client-go's default rate-limited queue, SDK standard retries",
		run: func(f fleet) runner { return &controller{f} },
	}
}

// start implements runner.
func (c *controller) start(ctx context.Context) {
	client := c.account.client(retry.NewStandard())
	c.reconcile(ctx, func(p *pod) error {
		err := p.create(ctx, client)
		if err == nil {
			c.bound(p)
		}
		return err
	})
}

// stop implements runner. The pods have finalizers, so nothing kills the controller's work.
func (c *controller) stop(ctx context.Context) {
	client := c.account.client(retry.NewStandard())
	c.reconcile(ctx, func(p *pod) error { return p.delete(ctx, client) })
}

// reconcile works through all pods until each has succeeded or ctx ends.
func (c *controller) reconcile(ctx context.Context, do func(*pod) error) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[*pod]())
	defer context.AfterFunc(ctx, queue.ShutDown)()
	for _, p := range c.pods {
		queue.Add(p)
	}
	for left := len(c.pods); left > 0; {
		p, closed := queue.Get()
		if closed {
			return
		}
		if err := do(p); err != nil {
			queue.AddRateLimited(p)
		} else {
			queue.Forget(p)
			left--
		}
		queue.Done(p)
	}
	queue.ShutDown()
}
