package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// changePort changes a port if decide does, and reports whether it was written.
// ledger.ErrAbsent and ledger.ErrUnreadable are returned as they are.
func (s *Service) changePort(ctx context.Context, lease string, decide func(*ledger.Port) error) (wrote bool, err error) {
	_, wrote, err = ledger.Change(ctx, s.Ports, lease, func(r ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		next := r.Value
		if err := decide(&next); err != nil || next == r.Value {
			return r.Value, false, err
		}
		next.UpdatedAt = s.Now()
		return next, true, nil
	})
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return false, err
	}
	return wrote, problem(err)
}

// problem turns an error of the ledger into what the agent is told. The outcome is
// unknown unless the error is a problem already; every call may be repeated.
func problem(err error) error {
	switch _, decided := errors.AsType[*api.Problem](err); {
	case err == nil, decided:
		return err
	case errors.Is(err, ledger.ErrContended):
		return errCrowded
	}
	return unavailable(err)
}

// changeClaim lets decide change a claim that was read, and writes it if decide
// says so; when somebody else wrote meanwhile, it is read and decided again.
func (s *Service) changeClaim(ctx context.Context, r ledger.Record[ledger.Claim], decide func(*ledger.Record[ledger.Claim]) (write bool, err error)) (ledger.Record[ledger.Claim], error) {
	for range rounds {
		if write, err := decide(&r); err != nil || !write {
			return r, err
		}
		r.Value.RenewedAt = s.Now()
		updated, err := s.Claims.Update(ctx, r)
		if err == nil {
			return updated, nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return r, unavailable(err)
		}
		if r, err = s.Claims.Get(ctx, r.Name); err != nil {
			return r, unavailable(err)
		}
	}
	return r, errCrowded
}
