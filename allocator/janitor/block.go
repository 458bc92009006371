package janitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// blockForeign writes into the ledger which ports of the pools somebody else
// listens on, so that no replica hands them out, and takes that back when the
// listener is gone. A port that a pod holds is left as it is: its agent meets the
// other listener and says so.
func (j *Janitor) blockForeign(ctx context.Context, listed map[string][]elb.Listener) error {
	var errs []error
	seen := make(map[string]string)  // port lease → ARN of the foreign listener
	there := make(map[string]string) // port lease → ARN of whatever listens
	for arn, listeners := range listed {
		for _, l := range listeners {
			name := ledger.PortName(ledger.LoadBalancerID(arn), l.Port)
			there[name] = l.ARN
			if j.foreign[l.ARN] == 0 || !j.Listings.Offers(arn, l.Port) {
				continue
			}
			seen[name] = l.ARN
			if err := j.setForeign(ctx, name, ledger.Port{LoadBalancerARN: arn, ListenerPort: l.Port}, l.ARN); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, p := range j.Ports.CachedAll() {
		_, looked := listed[p.Value.LoadBalancerARN]
		// What is listed is there, even if AWS did not say this time whose it is.
		gone := looked && there[p.Name] != p.Value.Foreign
		if p.Value.Foreign != "" && seen[p.Name] == "" && (gone || !j.Listings.Offers(p.Value.LoadBalancerARN, p.Value.ListenerPort)) {
			if err := j.setForeign(ctx, p.Name, p.Value, ""); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// setForeign records whose listener is on a port that nobody holds. fresh is
// what the port is if it was never handed out: without an epoch, which its first
// holder brings along.
func (j *Janitor) setForeign(ctx context.Context, name string, fresh ledger.Port, listener string) error {
	r, seen := j.Ports.Cached(name)
	switch {
	case !seen && listener == "", seen && r.Value.Foreign == listener, r.Value.Held():
		return nil
	case seen && r.Value.State == "":
		return nil // it cannot be read: a person looks first
	case !seen:
		r.Value = fresh
	}
	r.Value.Foreign, r.Value.UpdatedAt = listener, j.Now()
	r.Value = r.Value.Reconsidered()
	_, err := ledger.Put(ctx, j.Ports, name, r)
	if errors.Is(err, ledger.ErrConflict) {
		return nil // it has a holder now, or another replica was faster: the next audit looks again
	}
	if err != nil {
		return fmt.Errorf("recording the foreign listener of %s: %w", name, err)
	}
	if listener == "" {
		j.Count("unblock", "foreign listener gone")
		j.Log.InfoContext(ctx, "foreign listener gone", "lease", name, "port", r.Value.ListenerPort, "state", r.Value.State)
		return nil
	}
	j.Count("block", "foreign listener")
	j.Log.WarnContext(ctx, "port blocked by somebody else's listener", "lease", name, "port", r.Value.ListenerPort, "arn", listener)
	return nil
}
