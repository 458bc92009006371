package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/ledger"
)

// TestFollowerLearnsOfEveryChange changes an index at random. A copy that is changed only
// where the follower says so must stay equal.
func TestFollowerLearnsOfEveryChange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := ledger.NewIndex[ledger.Port]()
	want, got := make(map[string]string), make(map[string]string)
	changes := x.Follow()
	wholly := 0
	for step := range 3000 {
		name := fmt.Sprint("lb-", r.IntN(10))
		if r.IntN(2) == 0 {
			x.Remove(name)
			delete(want, name)
		} else {
			p := ledger.Record[ledger.Port]{Name: name, Version: fmt.Sprint(step)}
			x.Put(p)
			want[name] = p.Version
		}
		if r.IntN(5) > 0 {
			continue // several changes come together
		}
		c := changes()
		if c.All {
			wholly++
			clear(got)
			for _, p := range x.All() {
				c.Names = append(c.Names, p.Name)
			}
		}
		for _, name := range c.Names {
			delete(got, name)
			if p, exists := x.Get(name); exists {
				got[name] = p.Version
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("step %d: want -, got +:\n%s", step, diff)
		}
	}
	if wholly > 200 {
		t.Errorf("a follower read everything %d times", wholly)
	}
}

// Records come and go for as long as a process lives.
func TestFollowerThatNobodyAsksKeepsLittle(t *testing.T) {
	x := ledger.NewIndex[ledger.Port]()
	changes := x.Follow()
	if c := changes(); !c.All {
		t.Errorf("at first it says %+v", c)
	}
	for n := range 1000 {
		p := ledger.Record[ledger.Port]{Name: fmt.Sprint("lb-", n), Version: "1"}
		x.Put(p)
		x.Remove(p.Name)
	}
	if c := changes(); !c.All || len(c.Names) > 0 {
		t.Errorf("after 1000 records it says %+v", c)
	}
	if c := changes(); c.All || len(c.Names) > 0 {
		t.Errorf("then it says %+v", c)
	}
}
