package soak

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// spoiltCalls counts calls of agents that went wrong.
const spoiltCalls = "calls of agents spoilt"

// spoilt lets every third call of an agent go wrong for a while: it is not applied, or
// is and its answer is lost, or is answered by an error.
func spoilt(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
	length := between(random, time.Second, 2*claimDuration)
	var mu sync.Mutex // guards random
	draw := func() int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(9)
	}
	l.Follow(func(string) elbemu.Fault {
		f, spoils := map[int]elbemu.Fault{0: elbemu.NotApplied(), 1: elbemu.AnswerLost(), 2: elbemu.ServerErrorApplied()}[draw()]
		if spoils {
			s.diary.count(spoiltCalls)
		}
		return f
	}, func(string) rig.CallFault {
		f, spoils := map[int]rig.CallFault{0: rig.CallNotApplied(), 1: rig.CallAnswerLost(), 2: rig.CallRefused(http.StatusServiceUnavailable)}[draw()]
		if spoils {
			s.diary.count(spoiltCalls)
		}
		return f
	})
	scenario.Wait(ctx, length)
	l.Fault(nil)
	l.FaultAllocator(nil)
	l.FaultKube(nil)
	return nil
}
