package sim

import (
	"errors"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/ledgermem"
)

// Config says what is simulated.
type Config struct {
	Seed uint64
	// Events is the number of events after the first pods.
	Events int
	// HardMoves keeps the calls of a killed agent when its pod gets another IP. The
	// README says why this is not the default.
	HardMoves bool
	// Losses adds admins who delete Leases. Then only S3, S4 of claims, S6, L1 and L2
	// are checked.
	Losses bool
	// Damage adds operators who change and delete bindings in AWS. Then a bound port
	// may lack its listener.
	Damage bool
	// Broken adds a deployment whose agents AWS denies every change, until all others are
	// at rest. Those must be bound by then.
	Broken bool
	// Day makes the run a day of a large installation; Scale says how large.
	Day   *Day
	Scale *Scale
	// Lines is how many lines of the history are kept; 0 for all. Hear is called with each
	// line; nil for nobody.
	Lines int
	Hear  func(string)
	// Kinds are the names of the kinds of events that may happen; nil means all.
	Kinds []string
	// Calm is a run without faults of calls.
	Calm bool
	// Keep are the numbers of the events that happen; nil means all.
	Keep []int
	// Without are the kinds of faults to leave out.
	Without []string
	// Break and BreakAgent may break the dependencies of a replica and an agent's
	// client, to see that the violation is found.
	Break      func(*Dependencies)
	BreakAgent func(lifecycle.Allocator) lifecycle.Allocator
}

// World is everything that is simulated. It is used by one goroutine.
type World struct {
	config Config
	timing Timing
	// cause is the present event.
	cause     *cause
	faults    *faults
	trace     *trace
	scheduler *Scheduler
	judge     *judge

	leases *ledgermem.Ledger
	pods   *pods
	cloud  *cloud
	pool   poolfile.Pool
	file   file // what makes pool

	replicas    []*replica        // those that run
	agents      []*agent          // those that run, and those that ended
	agentOf     map[string]*agent // the newest by pod UID
	came        int               // pods ever created
	names       int               // of pods in a large installation so far
	day         *figures
	all         []*pod         // those that exist in any way
	free        []string       // pod addresses, the next one last
	starts      map[string]int // name → replicas of that name ever started
	admins      []*Process
	foreigners  int
	eventCounts map[string]int // kind of event → how often

	errs []error
}

func newWorld(c Config) (*World, error) {
	w := &World{
		config: c, cause: &cause{Rand: randomFor(c.Seed, "start")}, faults: newFaults(randomFor(c.Seed, "weather"), c.Without), trace: newTrace(c.Lines, c.Hear), timing: shortTiming, agentOf: make(map[string]*agent), day: newFigures(),
		leases: ledgermem.New(), pods: &pods{make(map[string]*ledger.Pod)}, starts: make(map[string]int), eventCounts: make(map[string]int),
	}
	w.faults.on = !c.Calm
	if c.Scale != nil {
		w.timing = c.Scale.Timing
	}
	w.scheduler = newScheduler(c.Seed, w.faults, w.trace)
	var err error
	if w.cloud, err = newCloud(randomFor(c.Seed, "cloud"), c.Scale); err != nil {
		return nil, err
	}
	if err := w.makePool(randomFor(c.Seed, "pool")); err != nil {
		return nil, err
	}
	w.free = addresses(9)
	if c.Scale != nil {
		w.free = addresses(c.Scale.Addresses)
	}
	if c.Broken {
		w.breakDeployment(randomFor(c.Seed, "broken deployment"))
	}
	w.judge = newJudge(w)
	w.cloud.judge = w.judge.call
	if err := w.makeForeign(); err != nil {
		return nil, err
	}
	if w.scaled() {
		w.cloud.known = newResources(w.cloud.emulator.Snapshot())
	}
	w.replicas = []*replica{w.startReplica("alloc-a"), w.startReplica("alloc-b")}
	w.lead(w.replicas[0])
	synctest.Wait()
	return w, nil
}

// after runs something later, for the present event.
func (w *World) after(d time.Duration, run func()) {
	c := w.cause
	w.scheduler.after(d, func() {
		now := w.cause
		w.cause = c
		run()
		w.cause = now
	})
}

func (w *World) violate(err error) {
	if err != nil {
		w.trace.add("!! %v", err)
		w.errs = append(w.errs, err)
	}
}

// errNotOver is a simulation whose processes did not end.
var errNotOver = errors.New("the simulated processes did not end")

// step runs one step and checks every guarantee that holds at any time.
func (w *World) step() error {
	synctest.Wait() // or a cache would change while a process reads it
	now := time.Now()
	for _, r := range w.replicas {
		if r.resumedFrom() == nil {
			r.tables.deliver(now)
			r.pay.Observe()
			r.takePools(now)
		}
	}
	switch changed := w.scheduler.step(); {
	case w.scaled():
		w.violate(w.judge.changed())
	case changed:
		w.violate(w.judge.always())
	}
	return errors.Join(w.errs...)
}

// runFor lets a time pass, or less after a violation.
func (w *World) runFor(d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := w.step(); err != nil {
			return err
		}
	}
	synctest.Wait() // every process parks before the next change
	return nil
}

// cutOff fails a request whose answer is lost.
func (w *World) cutOff(request *call) { request.finish(outcome{err: errLost}) }

// Run simulates one seed in a bubble of testing/synctest. The error is the first
// violation.
func Run(c Config) (Report, error) {
	w, err := newWorld(c)
	if err != nil {
		return Report{}, err
	}
	if c.Day != nil {
		err = w.runDay()
	} else {
		err = w.run()
	}
	end := w.end()
	if err == nil {
		err = end
	}
	return Report{
		Seed: c.Seed, Steps: w.trace.added, History: w.trace.lines, Faults: w.faults.counts,
		Took: time.Since(w.trace.start), Reached: w.judge.reached, Events: w.eventCounts, Begun: w.cause.number, Reclaims: w.judge.reclaims, InUse: w.cloud.inUse, Day: w.day.summary(w), Came: w.came, Went: w.came - len(w.all), Digest: fmt.Sprintf("%x", w.trace.digest.Sum(nil)[:8]),
	}, err
}

// run carries out the plan, waits until all is at rest, and deletes all pods.
func (w *World) run() error {
	if err := w.runPlan(); err != nil {
		return err
	}
	w.calm()
	if err := w.runFor(restTime); err != nil {
		return err
	}
	if err := w.judge.atRest(); err != nil {
		return err
	}
	if w.config.Broken {
		w.repairDeployment()
		if err := w.runFor(restTime); err != nil {
			return err
		}
		if err := w.judge.atRest(); err != nil {
			return err
		}
	}
	w.trace.add("-- newcomers")
	w.cause = &cause{Rand: randomFor(w.config.Seed, "newcomers"), number: first + w.config.Events + 1}
	for range newcomers {
		w.createPod()
	}
	if err := w.runFor(welcomeTime); err != nil {
		return err
	}
	w.trace.add("-- all pods are deleted")
	for _, p := range slices.Clone(w.all) {
		if p.again = 0; w.cause.IntN(2) == 0 {
			w.stopPod(p)
		} else {
			w.forceDelete(p, 10*time.Second)
		}
	}
	if err := w.runFor(restTime); err != nil {
		return err
	}
	return w.judge.empty()
}

// end stops every process, so that the bubble can end.
func (w *World) end() error {
	synctest.Wait()
	w.faults.on = false
	for _, r := range w.replicas {
		r.kill()
	}
	for _, a := range w.agents {
		if !a.over() {
			a.kill()
		}
	}
	for _, p := range w.admins {
		p.kill()
	}
	w.errs = nil
	for range 100_000 {
		w.scheduler.plan()
		busy := w.scheduler.calls.Len() > 0
		for _, a := range w.agents {
			select {
			case <-a.ended:
			default:
				busy = true
			}
		}
		if !busy {
			return w.cloud.emulator.Close()
		}
		w.scheduler.timers = newTimers()
		w.scheduler.step()
	}
	return errNotOver
}
