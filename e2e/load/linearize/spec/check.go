package spec

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict says that one object of a history is not as promised, or that it could
// not be decided.
type Verdict struct {
	// Object is the pod, port or pool in question.
	Object string
	// Undecided is true if the search ran out of time, which is no pass.
	Undecided bool
	// Ops are the operations on the object, by start.
	Ops []Op

	model porcupine.Model
	found porcupine.LinearizationInfo
}

// Error makes a Verdict one: the object and its history, a line for each call.
func (v *Verdict) Error() string {
	text := v.Object + ": no order of these calls is as promised"
	if v.Undecided {
		text = v.Object + ": not decided in time whether there is an order of these calls that is as promised"
	}
	for _, o := range v.Ops {
		text += "\n  " + o.String()
	}
	return text
}

// Draw writes the history of the object as an HTML page, with the longest orders
// that are as promised.
func (v *Verdict) Draw(path string) error {
	if err := porcupine.VisualizePath(v.model, v.found, path); err != nil {
		return fmt.Errorf("drawing the history: %w", err)
	}
	return nil
}

// Check holds a history against the model and gives every object that fails. Each
// object is given limit to be decided.
func Check(h History, limit time.Duration) []*Verdict {
	var failed []*Verdict
	note := func(v *Verdict) {
		if v != nil {
			failed = append(failed, v)
		}
	}
	pods := make(map[string][]Op)
	for _, o := range h.Ops {
		pods[o.Pod] = append(pods[o.Pod], o)
	}
	for _, pod := range slices.Sorted(maps.Keys(pods)) {
		note(check("the claim of "+pod, claimState{phase: noPorts}, claimSteps, pods[pod], func(o Op) Op { return o }, limit))
	}
	ports := portCalls(h)
	for _, lease := range slices.Sorted(maps.Keys(ports)) {
		note(check("listener port "+lease, holding{over: true}, holdingSteps, ports[lease], func(t portCall) Op { return t.Op }, limit))
	}
	note(check("the pool", poolState{}, poolStep, poolCalls(h), func(c poolCall) Op { return c.Op }, limit))
	return failed
}

// check looks for an order of operations on one object.
func check[State comparable, Operation any](object string, begin State, steps func(State, Operation) []State, ops []Operation, call func(Operation) Op, limit time.Duration) *Verdict {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{begin} },
		Step: func(state, input, _ any) []any {
			s, _ := state.(State)
			o, _ := input.(Operation)
			var next []any
			for _, n := range steps(s, o) {
				next = append(next, n)
			}
			return next
		},
		DescribeOperation: func(input, _ any) string {
			o, _ := input.(Operation)
			return call(o).String()
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
	v := &Verdict{Object: object, model: model.ToModel()}
	var latest time.Duration
	for _, o := range ops {
		latest = max(latest, call(o).Start)
		if call(o).Outcome != Unknown {
			latest = max(latest, call(o).End)
		}
	}
	var history []porcupine.Operation
	for _, operation := range ops {
		o := call(operation)
		history = append(history, porcupine.Operation{
			ClientId: o.Lane, Input: operation, Call: int64(o.Start),
			// All that is open ends together, after all else.
			Return: int64(min(o.end(), latest+time.Millisecond)),
		})
		if o.Verb != "" {
			v.Ops = append(v.Ops, o)
		}
	}
	slices.SortStableFunc(v.Ops, func(a, b Op) int { return int(a.Start - b.Start) })
	result, found := porcupine.CheckOperationsVerbose(v.model, history, limit)
	v.found, v.Undecided = found, result == porcupine.Unknown
	if result == porcupine.Ok {
		return nil
	}
	return v
}
