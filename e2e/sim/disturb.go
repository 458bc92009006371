package sim

import (
	"slices"
	"strings"
	"time"
)

// restTime is enough for everything to come to rest once faults have stopped:
// several claim durations, cooldowns and audits, and the longest back-off of an
// agent.
const restTime = 8 * time.Minute

// newcomers is how many pods are created when all is at rest, and welcomeTime how
// long they live.
const (
	newcomers   = 2
	welcomeTime = time.Minute
)

// leaderTimeout is how long there is no leader after one was lost.
const leaderTimeout = 15 * time.Second

func (w *World) partitionAgent(p *pod) {
	if p.agent == nil {
		return
	}
	w.trace.add("-- agent %s is cut off", p.agent.name)
	until := time.Now().Add(w.cause.span(150 * time.Second))
	if w.cause.IntN(2) == 0 {
		w.faults.partition(p.agent.Process, until, kindRequest)
	} else {
		w.faults.partition(p.agent.Process, until, kindAWSRead, kindAWSWrite)
	}
}

func (w *World) partitionReplica(r *replica) {
	w.trace.add("-- replica %s is cut off", r.name)
	until := time.Now().Add(w.cause.span(90 * time.Second))
	if w.cause.IntN(2) == 0 {
		w.faults.partition(r.Process, until, kindRead, kindWrite, kindPod, kindReview)
		r.stuck = until
	} else {
		w.faults.partition(r.Process, until, kindAWSRead, kindAWSWrite)
	}
}

// lead makes a replica the leader. The previous leader may act as leader for a while.
func (w *World) lead(r *replica) {
	w.trace.add("-- replica %s leads", r.name)
	r.leading.Store(true)
	for _, other := range w.replicas {
		if other != r && other.leading.Load() {
			w.after(w.cause.span(10*time.Second), func() {
				if w.leads(r) {
					other.leading.Store(false)
				}
			})
		}
	}
}

func (w *World) leads(r *replica) bool { return r.alive() && r.leading.Load() }

// elect makes one of the replicas the leader if there is none.
func (w *World) elect() {
	for _, r := range w.replicas {
		if w.leads(r) && r.resumedFrom() == nil {
			return
		}
	}
	onReplica((*World).lead)(w)
}

func (w *World) restartReplica(r *replica) {
	w.trace.add("-- replica %s is killed", r.name)
	w.restartAfter(r, w.cause.span(30*time.Second))
}

// restartAfter kills a replica and starts it again after a time.
func (w *World) restartAfter(r *replica, d time.Duration) {
	w.removeReplica(r)
	w.after(d, func() {
		name, _, _ := strings.Cut(r.name, "#")
		w.replicas = append(w.replicas, w.startReplica(name))
	})
	w.after(leaderTimeout, w.elect)
}

func (w *World) removeReplica(r *replica) {
	r.kill()
	w.replicas = slices.DeleteFunc(w.replicas, func(other *replica) bool { return other == r })
}

// pauseReplica pauses a replica for up to much longer than a claim lasts.
func (w *World) pauseReplica(r *replica) {
	w.trace.add("-- replica %s pauses", r.name)
	r.pause()
	w.after(leaderTimeout, w.elect)
	length, suspended := w.cause.span(150*time.Second), w.cause.IntN(2) == 0
	w.after(length, func() {
		if r.alive() {
			w.trace.add("-- replica %s goes on", r.name)
			if suspended {
				r.clock.stand(length)
			}
			r.resume()
			w.after(w.cause.span(5*time.Second), w.oneLeader)
		}
	})
}

// oneLeader leaves one leader.
func (w *World) oneLeader() {
	w.elect()
	found := false
	for _, r := range w.replicas {
		if found {
			r.leading.Store(false)
		}
		found = found || w.leads(r) && r.resumedFrom() == nil
	}
}

func (w *World) stallWatches(r *replica) {
	w.trace.add("-- the watches of replica %s are stuck", r.name)
	r.stuck = time.Now().Add(w.cause.span(120 * time.Second))
}

// calm ends all faults and resumes all processes.
func (w *World) calm() {
	w.trace.add("-- faults stop")
	w.faults.on, w.judge.offersChanged = false, time.Now()
	for _, r := range w.replicas {
		r.resume()
		r.stuck = time.Time{}
	}
	for len(w.replicas) < 2 {
		w.replicas = append(w.replicas, w.startReplica("alloc-c"))
	}
	w.oneLeader()
	w.after(20*time.Second, w.oneLeader)
	w.after(40*time.Second, w.oneLeader)
}

// jumpClock sets the wall clock of a replica to a wrong time.
func (w *World) jumpClock(r *replica) {
	skew := w.cause.span(48*time.Hour) - 24*time.Hour
	w.trace.add("-- the wall clock of replica %s is wrong by %v", r.name, skew)
	r.clock.jump(skew)
}

// hideListeners makes AWS fail to list the listeners of one load balancer for a while.
func (w *World) hideListeners() {
	if arn, ok := pick(w.cause, w.pool.LoadBalancers, func(arn string) string { return arn }); ok {
		w.trace.add("-- the listeners of %s cannot be listed", arn)
		w.faults.unlisted[arn] = time.Now().Add(w.cause.span(150 * time.Second))
	}
}

// throttleReads is another client in the account that uses up the read quota.
func (w *World) throttleReads() {
	w.trace.add("-- AWS throttles most reads")
	w.faults.storm = time.Now().Add(w.cause.span(100 * time.Second))
}
