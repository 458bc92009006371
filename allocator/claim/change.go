package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
)

// changePort lets decide change a port, and writes it if it did; when somebody else
// wrote meanwhile, it is read and decided again. What decide refuses or leaves alone
// is read before that counts: the record it begins with is the view's, which is good
// for a write that succeeds and for nothing else. It tells whether it wrote. Besides
// what decide answers, ledger.ErrAbsent and ledger.ErrUnreadable are handed on; every
// other error is an *api.Problem.
func (s *Service) changePort(ctx context.Context, lease string, decide func(*ledger.Port) error) (wrote bool, err error) {
	port, viewed := s.Ports.Cached(lease)
	for range rounds {
		if !viewed {
			port, err = s.Ports.Get(ctx, lease)
			if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
				return false, err
			}
			if err != nil {
				return false, unavailable(err)
			}
		}
		before := port.Value
		err := decide(&port.Value)
		if err == nil && port.Value != before {
			port.Value.UpdatedAt = s.Now()
			if _, err = s.Ports.Update(ctx, port); err == nil {
				return true, nil
			}
			if !errors.Is(err, ledger.ErrConflict) {
				return false, unavailable(err)
			}
		} else if !viewed {
			return false, err
		}
		viewed = false
	}
	return false, errCrowded
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
