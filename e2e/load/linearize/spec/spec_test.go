package spec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/load/linearize/spec"
	"github.com/portlease/portlease/shared/api"
)

// at gives the operation its start and end, in milliseconds.
func at(start, end int, o spec.Op) spec.Op {
	o.Start, o.End = time.Duration(start)*time.Millisecond, time.Duration(end)*time.Millisecond
	if o.Want == 0 {
		o.Want = 1
	}
	return o
}

// port is a hold: "x7/3" is port 7 of load balancer x at generation 3.
func port(s string) spec.Hold {
	var n, generation int
	if _, err := fmt.Sscanf(s[1:], "%d/%d", &n, &generation); err != nil {
		panic(err)
	}
	return spec.Hold{LoadBalancer: s[:1], Port: n, Fence: api.Fence{Lease: fmt.Sprintf("%s-%d", s[:1], n), Epoch: "e", Generation: generation}}
}

func holds(ports ...string) []spec.Hold {
	var all []spec.Hold
	for _, p := range ports {
		all = append(all, port(p))
	}
	return all
}

func granted(pod, uid string, ports ...string) spec.Op {
	return spec.Op{Pod: pod, Verb: spec.Put, Outcome: spec.Done, UID: uid, Holds: holds(ports...), Want: len(ports)}
}

func put(pod string, o spec.Outcome) spec.Op { return spec.Op{Pod: pod, Verb: spec.Put, Outcome: o} }

func renewed(pod, uid string, ports ...string) spec.Op {
	o := granted(pod, uid, ports...)
	o.Verb, o.Claim = spec.Renew, uid
	return o
}

func lost(pod, uid string) spec.Op {
	return spec.Op{Pod: pod, Verb: spec.Renew, Claim: uid, Outcome: spec.Lost}
}

func release(pod, uid string, o spec.Outcome) spec.Op {
	return spec.Op{Pod: pod, Verb: spec.Release, Claim: uid, Outcome: o}
}

// collision is about the port of claim u1 that is x1/5; ports are those of the
// answer.
func collision(pod string, foreign bool, o spec.Outcome, ports ...string) spec.Op {
	op := granted(pod, "u1", ports...)
	op.Verb, op.Claim, op.Fence, op.Foreign, op.Outcome = spec.Collision, op.UID, port("x1/5").Fence, foreign, o
	op.Want = max(1, op.Want)
	if o != spec.Done {
		op.UID = ""
	}
	return op
}

func remove(pod, uid string) spec.Op {
	return spec.Op{Pod: pod, Verb: spec.Delete, Claim: uid, Outcome: spec.Done}
}

// twoPorts are a pool of x-1 and x-2, which had four holders each.
var twoPorts = []spec.Port{
	{LoadBalancer: "x", Lease: "x-1", Epoch: "e", Generation: 4},
	{LoadBalancer: "x", Lease: "x-2", Epoch: "e", Generation: 4},
}

var threePorts = append(twoPorts[:2:2], spec.Port{LoadBalancer: "x", Lease: "x-3", Epoch: "e", Generation: 4})

type history struct {
	name string
	ops  []spec.Op
	// wrong is the object that must be found out; empty if the history is right.
	wrong string
	pool  []spec.Port
}

func check(t *testing.T, histories []history) {
	t.Helper()
	for _, h := range histories {
		t.Run(h.name, func(t *testing.T) {
			pool := h.pool
			if pool == nil {
				pool = twoPorts
			}
			found := spec.Check(spec.History{Ops: h.ops, Ports: pool}, 10*time.Second)
			var objects []string
			for _, v := range found {
				if v.Undecided {
					t.Errorf("%v", v)
				}
				objects = append(objects, v.Object)
			}
			text := strings.Join(objects, ", ")
			if h.wrong == "" && text != "" || !strings.Contains(text, h.wrong) {
				t.Errorf("found %q to be wrong, want %q", text, h.wrong)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	check(t, []history{
		{name: "claimed, repeated, renewed, released, claimed again", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, granted("a", "u1", "x1/5")), at(4, 5, renewed("a", "u1", "x1/5")),
			at(6, 7, remove("a", "u1")), at(8, 9, renewed("a", "u1", "x1/5")), at(10, 11, release("a", "u1", spec.Done)),
			at(12, 13, put("a", spec.Releasing)), at(14, 15, release("a", "u1", spec.Done)), at(16, 17, granted("a", "u2", "x1/6")),
			at(18, 19, lost("a", "u1")), at(20, 21, release("a", "u1", spec.Lost)), at(22, 23, renewed("a", "u2", "x1/6")),
		}},
		{name: "another port on a repeated PUT", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, granted("a", "u1", "x2/5"))}},
		{name: "another claim on a repeated PUT", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, granted("a", "u2", "x1/5"))}},
		{name: "two claims at once by concurrent PUTs", wrong: "claim of a", ops: []spec.Op{at(0, 5, granted("a", "u1", "x1/5")), at(0, 5, granted("a", "u2", "x2/5"))}},
		{name: "another port on a renewal", wrong: "claim of b", ops: []spec.Op{at(0, 1, granted("b", "u1", "x1/5")), at(2, 3, renewed("b", "u1", "x2/5"))}},
		{name: "lost without a reason", wrong: "claim of b", ops: []spec.Op{at(0, 1, granted("b", "u1", "x1/5")), at(2, 3, lost("b", "u1"))}},
		{name: "lost by a release that was repeated in vain", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Unknown)), at(4, 5, renewed("a", "u1", "x1/5")), at(6, 7, lost("a", "u1")),
		}},
		{name: "back after it was lost", wrong: "claim of a", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Unknown)), at(4, 5, lost("a", "u1")), at(6, 7, renewed("a", "u1", "x1/5")),
		}},
		{name: "renewed after its release", wrong: "claim of a", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, renewed("a", "u1", "x1/5")),
		}},
		{name: "renewed while it is released", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 5, release("a", "u1", spec.Done)), at(4, 6, renewed("a", "u1", "x1/5")),
		}},
		{name: "a dead claim comes back", wrong: "claim of a", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, granted("a", "u2", "x1/6")),
			at(6, 7, release("a", "u2", spec.Done)), at(8, 9, granted("a", "u1", "x1/7")),
		}},
		{name: "releasing without a release", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, put("a", spec.Releasing))}},
		{name: "releasing once forgotten", wrong: "claim of a", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, release("a", "u1", spec.Lost)), at(6, 7, put("a", spec.Releasing)),
		}},
		{name: "a live claim is not released because it is lost", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Lost))}},
		{name: "a late release of an earlier claim ends the new one", wrong: "claim of a", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, granted("a", "u2", "x1/6")),
			at(6, 7, release("a", "u1", spec.Lost)), at(8, 9, lost("a", "u2")),
		}},
		{name: "DELETE ends a live claim", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, remove("a", "u1")), at(4, 5, lost("a", "u1"))}},
		{name: "exhausted although it has a port", wrong: "claim of a", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(0, 1, granted("b", "v1", "x2/5")), at(2, 3, put("a", spec.Exhausted)),
		}},
		{name: "a defect of the allocator", wrong: "claim of a", ops: []spec.Op{at(0, 1, put("a", "internal"))}},
		{name: "ports on two load balancers", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5", "y1/1"))},
			pool: append([]spec.Port{{LoadBalancer: "y", Lease: "y-1"}}, twoPorts...)},
		{name: "one port twice", wrong: "claim of a", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5", "x1/5"))}},
	})
}

func TestConflicts(t *testing.T) {
	first, both := at(0, 1, granted("a", "u1", "x1/5")), at(0, 1, granted("a", "u1", "x1/5", "x2/5"))
	check(t, []history{
		{name: "no such listener", ops: []spec.Op{first, at(2, 3, collision("a", false, spec.Done, "x1/5"))}},
		{name: "moved without a listener", wrong: "claim of b", ops: []spec.Op{at(0, 1, granted("b", "u1", "x1/5")), at(2, 3, collision("b", false, spec.Done, "x2/5"))}},
		{name: "moved", ops: []spec.Op{first, at(2, 3, collision("a", true, spec.Done, "x2/5")), at(4, 5, granted("a", "u1", "x2/5"))}},
		{name: "not moved", wrong: "claim of a", ops: []spec.Op{first, at(2, 3, collision("a", true, spec.Done, "x1/5"))}},
		{name: "moved and back", wrong: "claim of a", ops: []spec.Op{first, at(2, 3, collision("a", true, spec.Done, "x2/5")), at(4, 5, renewed("a", "u1", "x1/5"))}},
		{name: "lost though it may stay", wrong: "claim of a", ops: []spec.Op{first, at(2, 3, collision("a", false, spec.Lost))}},
		{name: "moved unseen", ops: []spec.Op{
			first, at(2, 3, collision("a", true, spec.Unknown)), at(4, 5, renewed("a", "u1", "x1/5")), at(6, 7, granted("a", "u1", "x2/5")),
			at(8, 9, collision("a", true, spec.Done, "x2/5")),
		}},
		{name: "moved unseen to where it was", wrong: "claim of a", ops: []spec.Op{
			first, at(2, 3, collision("a", true, spec.Unknown)), at(4, 5, granted("a", "u1", "x2/5")), at(6, 7, renewed("a", "u1", "x1/5")),
		}},
		{name: "nowhere to go, and sent back by a replica that has not looked", ops: []spec.Op{
			first, at(0, 1, granted("b", "v1", "x2/5")), at(2, 3, collision("a", true, spec.Exhausted)), at(4, 5, granted("a", "u1", "x1/6")),
		}},
		{name: "nowhere to go, and the holding it left again", wrong: "claim of a", ops: []spec.Op{
			first, at(0, 1, granted("b", "v1", "x2/5")), at(2, 3, collision("a", true, spec.Exhausted)), at(4, 5, granted("a", "u1", "x1/5")),
		}},
		{name: "nowhere to go", ops: []spec.Op{
			first, at(0, 1, granted("b", "v1", "x2/5")), at(2, 3, collision("a", true, spec.Exhausted)), at(4, 5, put("a", spec.Exhausted)),
			at(6, 7, release("b", "v1", spec.Done)), at(8, 9, granted("a", "u1", "x2/6")),
		}},
		{name: "nowhere to go, and what else it has is kept", ops: []spec.Op{
			both, at(2, 3, collision("a", true, spec.Exhausted)), at(4, 5, granted("a", "u1", "x1/5", "x2/5")), at(6, 7, release("a", "u1", spec.Done)),
			at(8, 9, granted("b", "v1", "x1/6")),
		}},
		{name: "nowhere to go, and what else it has is given to another", wrong: "port x-2", ops: []spec.Op{
			both, at(2, 3, collision("a", true, spec.Exhausted)), at(4, 5, granted("b", "v1", "x2/6")), at(6, 7, renewed("a", "u1", "x1/5", "x2/5")),
		}},
		{name: "moved with all it had, and back to a part of that", ops: []spec.Op{
			both, at(2, 3, collision("a", true, spec.Done, "x2/6", "x3/5")), at(4, 5, renewed("a", "u1", "x2/6", "x3/5")),
			at(6, 7, release("a", "u1", spec.Done)), at(8, 9, granted("b", "v1", "x2/7")),
		}, pool: threePorts},
		{name: "moved with all it had, and its port is given to another", wrong: "port x-2", ops: []spec.Op{
			both, at(2, 3, collision("a", true, spec.Done, "x2/6", "x3/5")), at(4, 5, granted("b", "v1", "x2/7")), at(6, 7, renewed("a", "u1", "x2/6", "x3/5")),
		}, pool: threePorts},
		{name: "its port is given to another while it has it", wrong: "port x-1", ops: []spec.Op{
			first, at(2, 3, collision("a", false, spec.Done, "x1/5")), at(4, 5, granted("b", "v1", "x1/6")),
		}},
	})
}

func TestPorts(t *testing.T) {
	check(t, []history{
		{name: "one after the other", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, granted("b", "v1", "x1/6")),
		}},
		{name: "a generation that nobody was told of", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, granted("b", "v1", "x1/8")),
		}},
		{name: "two holders", wrong: "port x-1", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, granted("b", "v1", "x1/6"))}},
		{name: "two holders of one generation", wrong: "port x-1", ops: []spec.Op{at(0, 3, granted("a", "u1", "x1/5")), at(0, 3, granted("b", "v1", "x1/5"))}},
		{name: "given away as soon as the release begins", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 9, release("a", "u1", spec.Done)), at(3, 4, granted("b", "v1", "x1/6")),
		}},
		{name: "given away before the release begins", wrong: "port x-1", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(5, 9, release("a", "u1", spec.Done)), at(3, 4, granted("b", "v1", "x1/6")),
		}},
		{name: "given away after a release without an answer", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Unknown)), at(40, 50, granted("b", "v1", "x1/6")),
		}},
		{name: "a generation again", wrong: "port x-1", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Done)), at(4, 5, granted("b", "v1", "x1/5")),
		}},
		{name: "a generation of an earlier round", wrong: "port x-1", ops: []spec.Op{at(0, 1, granted("a", "u1", "x1/4"))}},
		{name: "renewed after another has it", wrong: "port x-1", ops: []spec.Op{
			at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, release("a", "u1", spec.Unknown)), at(4, 5, granted("b", "v1", "x1/6")), at(6, 7, renewed("a", "u1", "x1/5")),
		}},
	})
}

func TestExhausted(t *testing.T) {
	full := []spec.Op{at(0, 1, granted("a", "u1", "x1/5")), at(0, 1, granted("b", "v1", "x2/5"))}
	check(t, []history{
		{name: "all are held", ops: append(full[:2:2], at(2, 3, put("c", spec.Exhausted)))},
		{name: "one is free", wrong: "pool", ops: []spec.Op{full[0], at(2, 3, put("c", spec.Exhausted))}},
		{name: "the last one is granted meanwhile", ops: []spec.Op{full[0], at(1, 9, granted("b", "v1", "x2/5")), at(2, 3, put("c", spec.Exhausted))}},
		{name: "the last one is granted afterwards", wrong: "pool", ops: []spec.Op{full[0], at(5, 9, granted("b", "v1", "x2/5")), at(2, 3, put("c", spec.Exhausted))}},
		{name: "one is perhaps held", ops: []spec.Op{full[0], at(1, 2, put("b", spec.Unknown)), at(3, 4, put("c", spec.Exhausted))}},
		{name: "one cools down", ops: append(full[:2:2], at(2, 3, release("a", "u1", spec.Done)), at(4, 5, put("c", spec.Exhausted)))},
		{name: "no two are free together", ops: []spec.Op{full[0], at(2, 3, spec.Op{Pod: "c", Verb: spec.Put, Want: 2, Outcome: spec.Exhausted})}},
		// Each appeals to the other's waiting; somebody must have been first.
		{name: "two wait for free ports", wrong: "pool", ops: []spec.Op{at(0, 9, put("a", spec.Exhausted)), at(0, 9, put("b", spec.Exhausted))}},
	})
	more := append([]spec.Port{{LoadBalancer: "y", Lease: "y-1"}}, twoPorts...)
	check(t, []history{
		{name: "one is free elsewhere", pool: more, wrong: "pool", ops: append(full[:2:2], at(2, 3, put("c", spec.Exhausted)))},
		{name: "what is free is for one who has waited longer", pool: more, ops: append(full[:2:2],
			at(0, 1, granted("c", "w1", "y1/1")), at(2, 3, put("d", spec.Exhausted)), at(4, 5, release("c", "w1", spec.Done)), at(6, 7, put("e", spec.Exhausted)))},
	})
}

// TestManyWait has as many concurrent exhausted answers as a round may have, one
// of them wrong: it must be decided all the same.
func TestManyWait(t *testing.T) {
	var ops []spec.Op
	for n := range 12 {
		ops = append(ops, at(0, 9, put(fmt.Sprintf("p%d", n), spec.Exhausted)))
	}
	check(t, []history{{name: "nobody has any", wrong: "pool", ops: ops}})
}

func TestVerdictIsReadable(t *testing.T) {
	found := spec.Check(spec.History{Ports: twoPorts, Ops: []spec.Op{
		at(0, 1, granted("a", "u1", "x1/5")), at(2, 3, granted("b", "v1", "x1/6")), at(4, 5, release("a", "u1", spec.Unknown)), at(0, 1, granted("c", "w1", "x2/5")),
	}}, time.Second)
	if len(found) != 1 {
		t.Fatalf("found %v", found)
	}
	text := found[0].Error()
	for _, want := range []string{"listener port x-1", "generation 5", "generation 6", "never", "claim v1"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q: %s", want, text)
		}
	}
	if strings.Contains(text, "w1") {
		t.Errorf("it speaks of another port: %s", text)
	}
	path := filepath.Join(t.TempDir(), "drawn.html")
	if err := found[0].Draw(path); err != nil {
		t.Fatal(err)
	}
	if drawn, err := os.ReadFile(path); err != nil || !strings.Contains(string(drawn), "generation 6") {
		t.Errorf("it is drawn in %d bytes, %v", len(drawn), err)
	}
}
