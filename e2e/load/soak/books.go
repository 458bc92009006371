package soak

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/rig"
)

// books have every pod that was ever made here, and the names and addresses that
// others had before.
type books struct {
	mu sync.Mutex // guards all below, and what lives have
	// lives is pod UID → life. all are the same, in the order of their making.
	lives map[string]*life
	all   []*life
	// names and addresses are those of pods that are gone, to be had again.
	names, addresses []string
	made             int
}

// life is one pod. What it has is guarded by the books' mutex.
type life struct {
	*rig.Pod
	// busy is that something happens to it.
	busy bool
	// told is that it was told to end: from then on its ports may be taken back.
	told bool
	// removing is that its object is being removed, or is said to have failed; gone is
	// when that was done.
	removing bool
	gone     time.Time
	// vacated is that others may have its name and address, over that nothing of it
	// runs.
	vacated, over bool
}

// wants is how many ports the pod asks for.
func (l *life) wants() int { return strings.Count(l.Ports, ",") + 1 }

func newBooks() *books { return &books{lives: make(map[string]*life)} }

// identity draws a name and an address for a pod; an empty address is to be a new
// one. Every third pod comes back by the name of one that is gone, and every fourth
// gets the address of one.
func (b *books) identity(random *rand.Rand) (name, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	draw := func(of *[]string) (drawn string) {
		i := random.IntN(len(*of))
		drawn = (*of)[i]
		*of = slices.Delete(*of, i, i+1)
		return drawn
	}
	if len(b.names) > 0 && random.IntN(3) == 0 {
		name = draw(&b.names)
	} else {
		b.made++
		name = fmt.Sprintf("game-%d", b.made)
	}
	if len(b.addresses) > 0 && random.IntN(4) == 0 {
		address = draw(&b.addresses)
	}
	return name, address
}

// enter takes a pod into the books, before its agent starts.
func (b *books) enter(p *rig.Pod) *life {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &life{Pod: p, busy: true}
	b.lives[p.UID] = l
	b.all = append(b.all, l)
	return l
}

// of is the life of a pod UID; nil if there is none.
func (b *books) of(uid string) *life {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lives[uid]
}

// read gives what a life has at this moment.
func (b *books) read(l *life) life {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *l
}

// change changes what a life has.
func (b *books) change(l *life, how func(*life)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	how(l)
}

// vacate gives name and address of a pod that was removed to others.
func (b *books) vacate(l *life) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.vacated = true
	if l.gone.IsZero() { // or it failed before
		l.gone = time.Now()
	}
	b.names, b.addresses = append(b.names, l.Name), append(b.addresses, l.IP)
}

// take draws one to which nothing happens and marks it busy; nil if there is none.
func (b *books) take(random *rand.Rand) *life {
	b.mu.Lock()
	defer b.mu.Unlock()
	idle := slices.DeleteFunc(slices.Clone(b.all), func(l *life) bool { return l.busy || l.told || l.over })
	if len(idle) == 0 {
		return nil
	}
	l := idle[random.IntN(len(idle))]
	l.busy = true
	return l
}

// living are the pods that were not told to end, in the order of their making.
func (b *books) living() []*life {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.all), func(l *life) bool { return l.told })
}

// tally is how many agents may still run, how many pods were made, and how many of
// them have ended.
func (b *books) tally() (running, made, ended int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range maps.Values(b.lives) {
		if l.over {
			ended++
		}
	}
	return len(b.lives) - ended, len(b.lives), ended
}
