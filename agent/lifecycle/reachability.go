package lifecycle

import (
	"errors"
	"sync"
	"time"

	"github.com/portlease/portlease/agent/health"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/agent/signals"
)

// reachability gathers what is known of the pod's health, from the phases and from the
// watch. The readiness probe follows at once. The watch sets the pod's condition, so that
// no phase waits for the API server. It is safe for concurrent use.
type reachability struct {
	env
	status    *status
	counters  counters
	onHolding func()
	// milestones is used by the phases only, and not guarded.
	milestones *milestones
	// news wakes the watch.
	news signals.Bell

	mu     sync.Mutex // guards all below
	facts  health.Facts
	game   health.Game
	checks health.Checks
	polls  health.Polls
	// unused is how many times in a row a target was described as not in use.
	unused int
	// opinions are what the allocator last said of the targets, by port lease.
	opinions map[string]string
	// stale is whether the game has stopped or started since the targets were described.
	stale bool
}

// apply is called with mu held, after a change of the facts.
func (r *reachability) apply() {
	c := r.facts.Condition()
	r.status.setCondition(c)
	r.counters.reachable.Set(number(c.Reachable))
	r.news.Ring()
}

func (r *reachability) condition() pod.Condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.facts.Condition()
}

// claiming notes that the pod has no ports yet.
func (r *reachability) claiming() { r.setObstacle(claiming()) }

func claiming() (reason, message string) {
	return reporter.ReasonClaiming, "the agent is claiming and binding the pod's ports"
}

// announced notes that the pod has an endpoint.
func (r *reachability) announced() { r.setObstacle("", "") }

// withdrawn notes that no new players should come. Only claiming and announced change
// that.
func (r *reachability) withdrawn() {
	r.setObstacle(health.ReasonWithdrawn, "the endpoint was withdrawn: no new players should come")
}

func (r *reachability) setObstacle(reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts.Obstacle = health.Obstacle{Reason: reason, Message: message}
	r.apply()
}

// obstructed notes why the pod has no endpoint that works.
func (r *reachability) obstructed(reason, message string) {
	if !r.isWithdrawn() {
		r.setObstacle(reason, message)
	}
}

func (r *reachability) isWithdrawn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.facts.Obstacle.Reason == health.ReasonWithdrawn
}

// failed notes a failure that keeps the pod from having an endpoint, if it is told.
func (r *reachability) failed(reason, text string) (told bool) {
	if reason == "" {
		return false
	}
	r.obstructed(reason, text)
	return true
}

// looked notes what the watch has seen of the game.
func (r *reachability) looked(problem string) (before, after health.GameState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, known := r.clock.Now(), r.facts
	before, _ = r.game.State()
	r.game.Look(now, problem)
	r.facts.Game, r.facts.Problem = r.game.State()
	after = r.facts.Game
	r.facts.ChecksStopped = r.checks.Stopped(now)
	if before != after && before != health.GameUnwatched {
		r.facts.ForgetTargets()
		r.stale = true
	}
	if known.Condition() != r.facts.Condition() {
		r.apply()
	}
	return before, after
}

// pause is how long the watch waits before its next look.
func (r *reachability) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.game.Pause()
}

// checked notes a health check of a load balancer and its answer.
func (r *reachability) checked(passed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks.Arrived(r.clock.Now())
	if passed {
		r.counters.passed.Inc()
	} else {
		r.counters.failed.Inc()
	}
}

// gameRuns is nil if the game runs, or why it does not.
func (r *reachability) gameRuns() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch state, problem := r.game.State(); state {
	case health.GameUnwatched:
		return errors.New("the agent has not looked at the game yet")
	case health.GameStarting, health.GameStopped:
		return errors.New(problem)
	case health.GameRunning:
	}
	return nil
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
