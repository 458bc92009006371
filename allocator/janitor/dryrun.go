package janitor

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// errDryRun is the error of every change in a dry run.
var errDryRun = errors.New("not done: this is a dry run")

// readOnly replaces everything that can change something: reads work, changes fail
// with errDryRun. The decisions do not know of it, so no later decision can forget it.
func readOnly(c Config) Config {
	c.Claims, c.Ports, c.AWS = readOnlyTable[ledger.Claim]{c.Claims}, readOnlyTable[ledger.Port]{c.Ports}, readOnlyAWS{c.AWS}
	// Nothing is reserved in advance, so Describe calls reserve themselves.
	c.ReserveDeletions = func(_ context.Context, _ string, n int) (int, time.Duration, error) { return n, 0, nil }
	c.ReserveDeregister = func(context.Context, string, int, int) (bool, error) { return true, nil }
	c.TryDescribes = func(context.Context, int) (bool, error) { return false, nil }
	c.Prepaid = func(ctx context.Context, _ int) context.Context { return ctx }
	c.Warn = func(context.Context, string, string, string, string, string) error { return nil }
	return c
}

type readOnlyTable[T any] struct{ ledger.Table[T] }

// Create implements ledger.Table.
func (readOnlyTable[T]) Create(context.Context, string, T) (r ledger.Record[T], err error) {
	return r, errDryRun
}

// Update implements ledger.Table.
func (readOnlyTable[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	return r, errDryRun
}

// Delete implements ledger.Table.
func (readOnlyTable[T]) Delete(context.Context, ledger.Record[T]) error { return errDryRun }

// readOnlyAWS names each read. An embedded AWS would let a new kind of change through.
type readOnlyAWS struct{ reads AWS }

func (d readOnlyAWS) TargetGroups(ctx context.Context) ([]elb.TargetGroup, error) {
	return d.reads.TargetGroups(ctx)
}

func (d readOnlyAWS) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	return d.reads.Tags(ctx, arns...)
}

func (d readOnlyAWS) Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error) {
	return d.reads.Targets(ctx, targetGroupARN)
}

func (readOnlyAWS) DeregisterTargets(context.Context, string, []elb.Target) error {
	return errDryRun
}

func (readOnlyAWS) DeleteListener(context.Context, string) error    { return errDryRun }
func (readOnlyAWS) DeleteTargetGroup(context.Context, string) error { return errDryRun }

// dryRunRetry spaces the attempts to unbind one port in a dry run. Each attempt costs
// Describe calls and logs the same.
const dryRunRetry = time.Hour

// skipped are the actions that a dry run skipped. Each is logged once, as long as the
// janitor goes on trying it.
type skipped struct {
	// logged and current map actions to the time of the last attempt, up to the last
	// pass and in this pass.
	logged, current map[string]time.Time
}

// logSkipped logs what a dry run skipped and returns all other errors.
func (j *Janitor) logSkipped(ctx context.Context, s *skipped, errs []error) error {
	now := j.Now()
	// The longest time between two attempts: an unbinding, or a check of an expired
	// claim's pod.
	defer s.endPass(now, dryRunRetry+j.Timing.ClaimDuration)
	return s.filter(errors.Join(errs...), now, func(action string) {
		j.Count("skip", "dry run")
		j.Log.InfoContext(ctx, "skipped: this is a dry run", "action", action)
	})
}

// filter reports each skipped action in an error once, and returns the rest of the
// error.
func (s *skipped) filter(err error, now time.Time, report func(action string)) error {
	if !errors.Is(err, errDryRun) {
		return err
	}
	if all, joined := err.(interface{ Unwrap() []error }); joined { // only errors.Join is looked into, not wrapped errors
		var rest []error
		for _, one := range all.Unwrap() {
			rest = append(rest, s.filter(one, now, report))
		}
		return errors.Join(rest...)
	}
	action := err.Error()
	if s.current == nil {
		s.current = make(map[string]time.Time)
	}
	s.current[action] = now
	if s.logged[action].IsZero() {
		report(action)
	}
	return nil
}

// endPass ends one sweep or audit. Actions that were not tried for the given time are
// forgotten.
func (s *skipped) endPass(now time.Time, keep time.Duration) {
	maps.DeleteFunc(s.logged, func(_ string, tried time.Time) bool { return now.Sub(tried) > keep })
	if s.logged == nil {
		s.logged = make(map[string]time.Time)
	}
	maps.Copy(s.logged, s.current)
	s.current = nil
}
