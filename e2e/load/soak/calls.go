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

// failedCalls counts the calls of agents that were made to fail.
const failedCalls = "calls of agents made to fail"

// failCalls makes every third call of an agent fail for a while: the call is not
// applied, or it is applied and the answer is lost, or it is answered with an error.
func failCalls(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
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
			s.history.count(failedCalls)
		}
		return f
	}, func(string) rig.CallFault {
		f, spoils := map[int]rig.CallFault{0: rig.CallNotApplied(), 1: rig.CallAnswerLost(), 2: rig.CallRefused(http.StatusServiceUnavailable)}[draw()]
		if spoils {
			s.history.count(failedCalls)
		}
		return f
	})
	scenario.Wait(ctx, length)
	l.Fault(nil)
	l.FaultAllocator(nil)
	l.FaultKube(nil)
	return nil
}
