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

// registry has every pod that the soak created, and the names and addresses that pods
// had before.
type registry struct {
	mu sync.Mutex // guards all below, and what lives have
	// pods is pod UID → pod; all has the same pods in order of creation.
	pods map[string]*gamePod
	all  []*gamePod
	// names and addresses belonged to pods that are gone and can be used again.
	names, addresses []string
	made             int
}

// gamePod is one pod. The registry's mutex guards its fields.
type gamePod struct {
	*rig.Pod
	// busy is true while a fault of the pod is being played.
	busy bool
	// terminating is true once the pod was told to end: from then on its ports may be
	// reclaimed.
	terminating bool
	// removing is true once its object is being removed or marked failed; removedAt is
	// when that was done.
	removing  bool
	removedAt time.Time
	// identityFree is true once other pods may have its name and address, ended once
	// its agent no longer runs.
	identityFree, ended bool
}

// wants returns how many ports the pod asks for.
func (l *gamePod) wants() int { return strings.Count(l.Ports, ",") + 1 }

func newRegistry() *registry { return &registry{pods: make(map[string]*gamePod)} }

// drawIdentity draws a name and an address for a new pod; an empty address means a new
// one. Every third pod gets the name of a pod that is gone, every fourth its address.
func (b *registry) drawIdentity(random *rand.Rand) (name, address string) {
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

// add adds a pod before its agent starts.
func (b *registry) add(p *rig.Pod) *gamePod {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &gamePod{Pod: p, busy: true}
	b.pods[p.UID] = l
	b.all = append(b.all, l)
	return l
}

// byUID returns the pod with that UID, or nil.
func (b *registry) byUID(uid string) *gamePod {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pods[uid]
}

// snapshot returns a copy of the pod's fields.
func (b *registry) snapshot(l *gamePod) gamePod {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *l
}

// update changes the pod's fields.
func (b *registry) update(l *gamePod, how func(*gamePod)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	how(l)
}

// freeIdentity gives the name and the address of a removed pod to future pods.
func (b *registry) freeIdentity(l *gamePod) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.identityFree = true
	if l.removedAt.IsZero() { // or it failed before
		l.removedAt = time.Now()
	}
	b.names, b.addresses = append(b.names, l.Name), append(b.addresses, l.IP)
}

// takeIdle draws a pod that no fault is being played on and marks it busy; nil if there
// is none.
func (b *registry) takeIdle(random *rand.Rand) *gamePod {
	b.mu.Lock()
	defer b.mu.Unlock()
	idle := slices.DeleteFunc(slices.Clone(b.all), func(l *gamePod) bool { return l.busy || l.terminating || l.ended })
	if len(idle) == 0 {
		return nil
	}
	l := idle[random.IntN(len(idle))]
	l.busy = true
	return l
}

// alive returns the pods that were not told to end, in order of creation.
func (b *registry) alive() []*gamePod {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.all), func(l *gamePod) bool { return l.terminating })
}

// counts returns how many agents may still run, how many pods were created, and how
// many of them have ended.
func (b *registry) counts() (running, made, ended int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range maps.Values(b.pods) {
		if l.ended {
			ended++
		}
	}
	return len(b.pods) - ended, len(b.pods), ended
}
