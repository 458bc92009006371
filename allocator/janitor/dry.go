package janitor

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// errDryRun is what every change of a dry run comes back with.
var errDryRun = errors.New("not done: this is a dry run")

// dry gives doors that let nothing out: reading is as before, every change is
// refused. It is built around the doors and not into the decisions, so that a
// decision that is added later is withheld as well.
func dry(c Config) Config {
	c.Claims, c.Ports, c.AWS = dryTable[ledger.Claim]{c.Claims}, dryTable[ledger.Port]{c.Ports}, dryAWS{c.AWS}
	// Nothing is paid for in advance, so looks pay for themselves.
	c.ReserveUnbind = func(context.Context, string) (bool, error) { return true, nil }
	c.Prepaid = func(ctx context.Context) context.Context { return ctx }
	c.Warn = func(context.Context, string, string, string, string, string) error { return nil }
	return c
}

type dryTable[T any] struct{ ledger.Table[T] }

// Create implements ledger.Table.
func (dryTable[T]) Create(context.Context, string, T) (r ledger.Record[T], err error) {
	return r, errDryRun
}

// Update implements ledger.Table.
func (dryTable[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	return r, errDryRun
}

// Delete implements ledger.Table.
func (dryTable[T]) Delete(context.Context, ledger.Record[T]) error { return errDryRun }

type dryAWS struct{ looks AWS }

func (d dryAWS) TargetGroups(ctx context.Context) ([]elb.TargetGroup, error) {
	return d.looks.TargetGroups(ctx)
}

func (d dryAWS) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	return d.looks.Tags(ctx, arns...)
}

func (d dryAWS) Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error) {
	return d.looks.Targets(ctx, targetGroupARN)
}

func (dryAWS) DeleteListener(context.Context, string) error    { return errDryRun }
func (dryAWS) DeleteTargetGroup(context.Context, string) error { return errDryRun }

// dryRetry spaces the attempts to unbind one port in a dry run: each takes looks from
// the account's few a second, and will tell the same.
const dryRetry = time.Hour

// notes are what one loop has withheld, each said once as long as it stays true.
type notes struct {
	// said and now are what → when it was last tried, up to and in this pass.
	said, now map[string]time.Time
}

// withhold says what of an error was withheld by a dry run, and gives the rest.
func (n *notes) withhold(err error, at time.Time, say func(string)) error {
	if !errors.Is(err, errDryRun) {
		return err
	}
	// Only the outermost error joins what was done side by side.
	if all, joined := err.(interface{ Unwrap() []error }); joined {
		var rest []error
		for _, one := range all.Unwrap() {
			rest = append(rest, n.withhold(one, at, say))
		}
		return errors.Join(rest...)
	}
	what := err.Error()
	if n.now == nil {
		n.now = make(map[string]time.Time)
	}
	n.now[what] = at
	if n.said[what].IsZero() {
		say(what)
	}
	return nil
}

// over ends one pass of the loop. What it did not try may stay true for as long as
// keep.
func (n *notes) over(at time.Time, keep time.Duration) {
	maps.DeleteFunc(n.said, func(_ string, tried time.Time) bool { return at.Sub(tried) > keep })
	if n.said == nil {
		n.said = make(map[string]time.Time)
	}
	maps.Copy(n.said, n.now)
	n.now = nil
}
