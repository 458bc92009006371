package crashtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/e2e/rig"
)

// fate is what happens to the agent at the moment of the fault.
type fate string

const (
	survives  fate = "survives"
	restarted fate = "killed and restarted"
	dies      fate = "dies with its pod"
)

// trial is one case of the table.
type trial struct {
	*stage
	number int
	at     call
	kind   kind
	fate   fate
}

func (t trial) String() string {
	return fmt.Sprintf("%s: %v, %s, %s", t.name, t.at, t.kind.name, t.fate)
}

// ends reports whether the pod is released by this trial instead of going on.
func (t trial) ends() bool { return t.fate == dies || t.at.phase == releasing && t.fate == survives }

// cases returns all combinations that make sense. A delayed read changes nothing; an
// agent that dies learns nothing from an answer; a released pod is not bound again.
func cases(s *stage, calls []call) []trial {
	var all []trial
	for _, c := range calls {
		for _, k := range kinds {
			for _, f := range []fate{survives, restarted, dies} {
				t := trial{s, len(all), c, k, f}
				switch {
				case k.until != never && c.reads(), k.until == afterBound && t.ends(), f == dies && k.waits:
				default:
					all = append(all, t)
				}
			}
		}
	}
	return all
}

// patience is how long a trial may take. Twenty throttled calls alone take the agent
// four minutes.
func (t trial) patience() time.Duration {
	if t.kind.times > 1 {
		return 12 * time.Minute
	}
	return 4 * time.Minute
}

// errNotCalled means that the agent ended without the call: the allocator was busy with
// other pods and left the deletions to the janitor.
var errNotCalled = errors.New("the agent ended without this call")

// killLimit is how long killing an agent may take.
const killLimit = 10 * time.Second

// tries is how many pods may end without the call.
const tries = 10

// play plays the life of one pod with its fault, and of the pod that gets its port
// next.
func (t trial) play(ctx context.Context) (err error) {
	for n := range tries {
		if err = t.try(ctx, fmt.Sprintf("case-%d-%d", t.number, n)); !errors.Is(err, errNotCalled) {
			return err
		}
	}
	return err
}

func (t trial) try(ctx context.Context, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, t.patience())
	defer cancel()
	p, err := t.NewPod(ctx, name, t.ports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Crash(context.WithoutCancel(ctx))) }()
	w, f := follow(p), &fault{kind: t.kind}
	if err := t.onFault(ctx, p, w, f); err != nil {
		return err
	}
	had, err := portNames(ctx, p)
	if err != nil {
		return err
	}
	if !t.ends() {
		if had, err = t.hold(ctx, p, w, f); err != nil {
			return err
		}
	}
	if err := t.release(ctx, p, f); err != nil {
		return err
	}
	if t.kind.until == heldByAnother {
		return t.succeed(ctx, p, had, f)
	}
	return t.Check(ctx)
}

// onFault takes the agent to its fault and through it.
func (t trial) onFault(ctx context.Context, p *rig.Pod, w *watch, f *fault) error {
	faulted := make(chan error, 1)
	w.disrupt(t.at, f, func() {
		if t.fate == survives {
			faulted <- nil
			return
		}
		faulted <- p.Kill(ctx)
	})
	if err := t.advance(ctx, p, w, t.at); err != nil {
		return err
	}
	ended := make(chan struct{})
	if t.at.phase == releasing {
		go func() {
			_, _ = p.Ended(ctx) // how is looked at later
			close(ended)
		}()
	}
	var err error
	select {
	case err = <-faulted:
	case <-ended:
		if !w.reached() {
			return errNotCalled
		}
		// The agent was killed at the fault, or gave up before it.
		select {
		case err = <-faulted:
		case <-time.After(killLimit):
			return errNotCalled
		}
	case <-ctx.Done():
		return fmt.Errorf("the agent never came to this call: %w", context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	if t.fate == restarted {
		return p.Start()
	}
	return nil
}

// hold waits until the pod is bound and holds, before and after a delayed call, and
// returns its ports.
func (t trial) hold(ctx context.Context, p *rig.Pod, w *watch, f *fault) ([]string, error) {
	for late := false; ; late = true {
		before := w.renewals(t.at.phase)
		if err := t.renewed(ctx, w, t.at.phase, before+1); err != nil {
			return nil, err
		}
		if err := until(ctx, "the pod to be bound", func() error { return t.bound(ctx, p) }); err != nil {
			return nil, err
		}
		if t.kind.until != afterBound || late {
			return portNames(ctx, p)
		}
		if err := f.arrive(ctx, afterBound); err != nil {
			return nil, err
		}
	}
}

// bound returns an error unless the pod has what it asked for, nothing else, and
// announces it.
func (t trial) bound(ctx context.Context, p *rig.Pod) error {
	if err := p.Started(ctx); err != nil {
		return err
	}
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return err
	}
	if want := strings.Count(t.ports, ",") + 1; len(ports) != want {
		return fmt.Errorf("it has %d ports, not %d", len(ports), want)
	}
	if _, err = t.BindingOf(ctx, p); err != nil {
		return err
	}
	return t.CheckAtRestFor(ctx, p)
}

// release ends the pod and waits until nothing is left of it, before and after a
// delayed call.
func (t trial) release(ctx context.Context, p *rig.Pod, f *fault) error {
	var err error
	switch {
	case t.fate == dies:
		err = p.Crash(ctx)
	case t.ends():
		// SIGTERM was sent already.
		var code int
		if code, err = p.Ended(ctx); err == nil && code != 0 {
			err = fmt.Errorf("the agent ended with code %d", code)
		}
		err = errors.Join(err, p.Crash(ctx))
	default:
		err = p.Terminate(ctx)
	}
	if err != nil {
		return err
	}
	gone := func() error {
		return until(ctx, "nothing of the pod to be left", func() error { return t.CheckGone(ctx, p) })
	}
	if err := gone(); err != nil {
		return err
	}
	if err := f.arrive(ctx, afterRelease); err != nil {
		return err
	}
	return gone()
}

func portNames(ctx context.Context, p *rig.Pod) ([]string, error) {
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range ports {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names, nil
}
