package lifecycle_test

import (
	"context"

	"github.com/portlease/portlease/shared/api"
)

func (l *ledger) Release(_ context.Context, _, _ string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	err := l.enter("release")
	defer l.mu.Unlock()
	if err != nil {
		return api.ReleaseAnswer{}, err
	}
	if l.claim == nil || l.claim.UID != r.ClaimUID {
		return api.ReleaseAnswer{}, api.Errorf(api.Lost, "claim %s is over", r.ClaimUID)
	}
	l.releasing = true
	if r.Deregistered && l.targets(l.claim.PodIP) {
		l.t.Errorf("%s is reported deregistered and is still a target", l.claim.PodIP)
	}
	l.deregistered = l.deregistered || r.Deregistered
	return api.ReleaseAnswer{Deregister: !l.janitorDeregisters && !l.deregistered, Unbind: !l.janitorUnbinds, Ports: l.copy().Ports}, nil
}

func (l *ledger) Finish(_ context.Context, _, _, claimUID string, gone []string) error {
	err := l.enter("finish")
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	if l.claim == nil || l.claim.UID != claimUID {
		return nil
	}
	if !l.releasing {
		l.t.Error("finished before it was released")
	}
	l.finished = append(l.finished, gone...)
	if len(l.finished) == len(l.claim.Ports) {
		l.claim, l.releasing = nil, false
	}
	return nil
}
