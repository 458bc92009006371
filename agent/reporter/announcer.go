package reporter

import (
	"context"
	"errors"

	"github.com/portlease/portlease/shared/api"
)

// Announcer publishes where players reach the pod. Both calls replace what was
// published before and may be repeated.
type Announcer interface {
	Announce(ctx context.Context, c api.Claim) error
	Withdraw(ctx context.Context) error
}

// Announcers are called one after another, also after one of them fails.
type Announcers []Announcer

// Announce implements Announcer.
func (all Announcers) Announce(ctx context.Context, c api.Claim) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Announce(ctx, c))
	}
	return errors.Join(errs...)
}

// Withdraw implements Announcer.
func (all Announcers) Withdraw(ctx context.Context) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Withdraw(ctx))
	}
	return errors.Join(errs...)
}
