package janitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// recordForeign records in the ledger which ports have a foreign listener, so that no
// replica hands them out, and clears the record when that listener is gone. A held
// port is left alone: its agent meets the listener and reports a collision.
func (j *Janitor) recordForeign(ctx context.Context, listeners map[string][]elb.Listener) error {
	var errs []error
	foreign := make(map[string]bool)     // port leases with a foreign listener
	listening := make(map[string]string) // port lease → ARN of any listener
	for arn, all := range listeners {
		for _, l := range all {
			name := ledger.PortName(ledger.LoadBalancerID(arn), l.Port)
			listening[name] = l.ARN
			if j.foreign[l.ARN] == 0 || !j.Listings.Offers(arn, l.Port) {
				continue
			}
			foreign[name] = true
			errs = append(errs, j.setForeign(ctx, name, ledger.Port{LoadBalancerARN: arn, ListenerPort: l.Port}, l.ARN))
		}
	}
	for _, p := range j.Ports.CachedAll() {
		if p.Value.Foreign == "" || foreign[p.Name] {
			continue
		}
		_, listed := listeners[p.Value.LoadBalancerARN]
		// A listed listener still counts, even if AWS did not show its tags this time.
		gone := listed && listening[p.Name] != p.Value.Foreign
		if gone || !j.Listings.Offers(p.Value.LoadBalancerARN, p.Value.ListenerPort) {
			errs = append(errs, j.setForeign(ctx, p.Name, p.Value, ""))
		}
	}
	return errors.Join(errs...)
}

// setForeign records the foreign listener of a port that nobody holds; empty means that
// it is gone. created is the new record of a port without a lease. It has no epoch,
// because the first holder mints that.
func (j *Janitor) setForeign(ctx context.Context, name string, created ledger.Port, listener string) error {
	r, seen := j.Ports.Cached(name)
	unreadable := seen && r.Value.State == ""
	switch {
	case !seen && listener == "", seen && r.Value.Foreign == listener, r.Value.Held(), unreadable:
		return nil
	case !seen:
		r.Value = created
	}
	r.Value.Foreign, r.Value.UpdatedAt = listener, j.Now()
	r.Value = r.Value.Reconsidered()
	_, err := ledger.Put(ctx, j.Ports, name, r)
	if errors.Is(err, ledger.ErrConflict) {
		return nil // a holder or another replica changed it: the next audit checks again
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
	j.Log.WarnContext(ctx, "port blocked by a foreign listener", "lease", name, "port", r.Value.ListenerPort, "arn", listener)
	return nil
}
