package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// probeTTL is how long an answer of the API server is good for. Anybody may probe, so
	// probes must not cost more than this.
	probeTTL = time.Second
	// probeTimeout is below that of the kubelet's probe.
	probeTimeout = 2 * time.Second
)

// errNoAnswer has no cause: anybody may read it.
var errNoAnswer = errors.New("the API server does not answer; the allocator's log has the cause")

// apiProbe knows whether the API server answers. Probes at the same time share one
// request.
type apiProbe struct {
	// ask makes the request.
	ask func(context.Context) error
	log *slog.Logger

	flight singleflight.Group
	mu     sync.Mutex // guards all below
	asked  time.Time
	err    error
}

// check gives what the API server answered last, and asks it if that was too long ago.
func (p *apiProbe) check(ctx context.Context) error {
	if fresh, err := p.last(); fresh {
		return err
	}
	flight := p.flight.DoChan("", func() (any, error) {
		if fresh, err := p.last(); fresh {
			return nil, err // another flight has just ended
		}
		// Others wait for this too: it must not end with its first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		return nil, p.keep(ctx, p.ask(ctx))
	})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case answer := <-flight:
		return answer.Err
	}
}

func (p *apiProbe) last() (fresh bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.asked) < probeTTL, p.err
}

// keep remembers an answer, and logs the first of several failures.
func (p *apiProbe) keep(ctx context.Context, failure error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := p.err != nil
	p.asked, p.err = time.Now(), nil
	switch {
	case failure != nil:
		p.err = errNoAnswer
		if !failed {
			p.log.WarnContext(ctx, "the API server does not answer; this replica is not ready", "err", failure)
		}
	case failed:
		p.log.InfoContext(ctx, "the API server answers again")
	}
	return p.err
}
