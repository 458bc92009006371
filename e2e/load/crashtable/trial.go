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

// fate is what becomes of the agent at the moment of the fault.
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

// ends tells whether the pod is to be released by this life, and not to go on.
func (t trial) ends() bool { return t.fate == dies || t.at.phase == releasing && t.fate == survives }

// cases are all that can be made of some calls. A call that only asks changes
// nothing, however late it arrives; who dies learns nothing from an answer; who is
// released is not bound again.
func cases(s *stage, calls []call) []trial {
	var all []trial
	for _, c := range calls {
		for _, k := range kinds {
			for _, f := range []fate{survives, restarted, dies} {
				t := trial{s, len(all), c, k, f}
				switch {
				case k.until != never && c.reads(), k.until == boundAgain && t.ends(), f == dies && k.waits:
				default:
					all = append(all, t)
				}
			}
		}
	}
	return all
}

// patience is how long a trial may take. Twenty throttled calls alone take the
// agent four minutes.
func (t trial) patience() time.Duration {
	if t.kind.times > 1 {
		return 12 * time.Minute
	}
	return 4 * time.Minute
}

// errPassed is an agent that ended without the call: the allocator, who has others
// to serve as well, left the deletions to its janitor.
var errPassed = errors.New("the agent ended without this call")

// strikeLimit is how long killing an agent may take.
const strikeLimit = 10 * time.Second

// tries is how many lives may pass by the call.
const tries = 10

// play lives one life with its fault, and that of the one who has the port next.
func (t trial) play(ctx context.Context) (err error) {
	for n := range tries {
		if err = t.try(ctx, fmt.Sprintf("case-%d-%d", t.number, n)); !errors.Is(err, errPassed) {
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
	if err := t.strike(ctx, p, w, f); err != nil {
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
	if t.kind.until == anothers {
		return t.inherit(ctx, p, had, f)
	}
	return t.Check(ctx)
}

// strike takes the agent to its fault, and through it.
func (t trial) strike(ctx context.Context, p *rig.Pod, w *watch, f *fault) error {
	struck := make(chan error, 1)
	w.spoil(t.at, f, func() {
		if t.fate == survives {
			struck <- nil
			return
		}
		struck <- p.Kill(ctx)
	})
	if err := t.bring(ctx, p, w, t.at); err != nil {
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
	case err = <-struck:
	case <-ended:
		if !w.hit() {
			return errPassed
		}
		// It ended because it was killed there, or gave the call up before the fault.
		select {
		case err = <-struck:
		case <-time.After(strikeLimit):
			return errPassed
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

// hold waits until the pod is bound and holds, before and after a late call, and
// gives its ports.
func (t trial) hold(ctx context.Context, p *rig.Pod, w *watch, f *fault) ([]string, error) {
	for late := false; ; late = true {
		before := w.renewals(t.at.phase)
		if err := t.renewed(ctx, w, t.at.phase, before+1); err != nil {
			return nil, err
		}
		if err := until(ctx, "the pod to be bound", func() error { return t.bound(ctx, p) }); err != nil {
			return nil, err
		}
		if t.kind.until != boundAgain || late {
			return portNames(ctx, p)
		}
		if err := f.arrive(ctx, boundAgain); err != nil {
			return nil, err
		}
	}
}

// bound is nil if the pod has all it asked for, nothing else, and says so.
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

// release ends the pod and waits until nothing of it is left, before and after a
// late call.
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
	if err := f.arrive(ctx, releasedAll); err != nil {
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
