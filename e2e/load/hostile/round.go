package hostile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// attack is one case: an attack of a hostile neighbor, or a breakage of a broken one.
type attack struct {
	name string
	// begin launches the attack, before the honest pods start. An attack that goes on
	// does so until ctx ends. judge is called after the honest pods were bound.
	begin func(ctx context.Context, w *world) (judge, error)
}

// judge finds out what the attacker got. An error of begin or judge means that the case
// proved nothing, for example because another mechanism than the defense stopped it.
type judge func(context.Context) (outcome, error)

// verdict is how a case ended.
type verdict string

const (
	defended  verdict = "nothing"
	succeeded verdict = "SUCCEEDED"
	unproven  verdict = "UNPROVEN"
)

// outcome is what the attacker got.
type outcome struct {
	verdict
	got string
}

// got is an outcome in words.
func got(success bool, format string, args ...any) (outcome, error) {
	o := outcome{defended, fmt.Sprintf(format, args...)}
	if success {
		o.verdict = succeeded
	}
	return o, nil
}

// round is the attacks that are played beside the same honest pods. Attacks that put
// load on anything have a round of their own.
type round struct {
	attacks []attack
	// lag is how long calls to AWS may miss a new target group. That is AWS's own and slows
	// every pod, so honest pods are compared with a quiet run under the same lag.
	lag time.Duration
}

// matching keeps the attacks whose names contain the text.
func matching(all []round, text string) (chosen []round) {
	for _, r := range all {
		r.attacks = slices.DeleteFunc(slices.Clone(r.attacks), func(a attack) bool { return !strings.Contains(a.name, text) })
		if len(r.attacks) > 0 {
			chosen = append(chosen, r)
		}
	}
	return chosen
}

// playAll plays the quiet run and every round.
func (w *world) playAll(ctx context.Context, rounds []round) (table, error) {
	t := newTable()
	// The first run warms up caches and connections.
	for range 2 {
		if err := w.playQuiet(ctx); err != nil {
			return t, err
		}
	}
	t.addQuiet(w.quiet, 0)
	lag := time.Duration(0)
	defer w.Emulator.SetTargetGroupLag(0)
	for _, r := range rounds {
		if r.lag != lag {
			lag = r.lag
			w.Emulator.SetTargetGroupLag(lag)
			if err := w.playQuiet(ctx); err != nil {
				return t, err
			}
			t.addQuiet(w.quiet, lag)
		}
		honest, outcomes, err := w.play(ctx, r)
		if err != nil {
			return t, err
		}
		if w.quiet.ratio(honest) > mostOfQuiet && honest.bound == honest.pods {
			// The machine itself may have been busy: both are measured once more.
			w.Say("%.1f times the quiet run's time; measuring both again", w.quiet.ratio(honest))
			if err := w.playQuiet(ctx); err != nil {
				return t, err
			}
			if honest, outcomes, err = w.play(ctx, r); err != nil {
				return t, err
			}
		}
		for i, a := range r.attacks {
			t.add(row{a.name, outcomes[i]}, honest, w.quiet)
		}
	}
	return t, nil
}

func (w *world) playQuiet(ctx context.Context) error {
	honest, _, err := w.play(ctx, round{})
	if err != nil {
		return err
	}
	if honest.bound < honest.pods || honest.lost > 0 {
		return fmt.Errorf("without any attack %d of %d pods were bound and %d packets lost", honest.bound, honest.pods, honest.lost)
	}
	w.quiet = honest
	return nil
}

// play plays one round.
func (w *world) play(ctx context.Context, r round) (measure, []outcome, error) {
	none := measure{}
	if err := w.waitAtRest(ctx); err != nil {
		return none, nil, err
	}
	honest, err := w.newWave(ctx)
	if err != nil {
		return none, nil, err
	}
	attacking, cease := context.WithCancel(ctx)
	defer cease()
	var judges []judge
	for _, a := range r.attacks {
		j, err := a.begin(attacking, w)
		if err != nil {
			j = func(context.Context) (outcome, error) { return outcome{}, err }
		}
		judges = append(judges, j)
	}
	if len(r.attacks) > 0 {
		scenario.Wait(ctx, refill)
	}
	if err := honest.bind(ctx); err != nil {
		return none, nil, err
	}
	var outcomes []outcome
	for i, j := range judges {
		o, err := j(ctx)
		if err != nil {
			o = outcome{unproven, err.Error()}
		}
		outcomes = append(outcomes, o)
		w.Say("%s: %s: %s", r.attacks[i].name, o.verdict, o.got)
	}
	honest.stop()
	cease()
	if ctx.Err() != nil {
		return none, nil, context.Cause(ctx)
	}
	w.Say("honest pods: %v", honest.measure)
	if err := honest.end(ctx); err != nil {
		return none, nil, err
	}
	return honest.measure, outcomes, w.clearAttackers(ctx)
}
