package sim

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// randomFor returns the random numbers of one thing, which depend on the seed and its
// name alone. So leaving an event out of a run does not change the others, and a
// history can be made shorter without becoming another one.
func randomFor(seed uint64, name string) *rand.Rand {
	return rand.New(rand.NewPCG(seed, hash(seed, name)))
}

func hash(salt uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, salt))
	h.Write([]byte(name))
	return mix(h.Sum64())
}

// mix is the finalizer of MurmurHash3. Two names often differ in their last byte
// alone; it spreads that over all bits.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// cause is the event that something happens for, with random numbers of its own. What
// an event triggers later has the same cause.
type cause struct {
	*rand.Rand
	// number is the event's place in the plan.
	number int
	made   int // pods made by it
}

// span is a random duration below a limit.
func (c *cause) span(limit time.Duration) time.Duration {
	return time.Duration(c.Int64N(int64(limit/time.Millisecond))) * time.Millisecond
}

// pick chooses one of several. The choice stays the same if others are left out.
func pick[T any](c *cause, all []T, name func(T) string) (chosen T, ok bool) {
	salt, most := c.Uint64(), uint64(0)
	for _, one := range all {
		if h := hash(salt, name(one)); !ok || h > most {
			chosen, most, ok = one, h, true
		}
	}
	return chosen, ok
}
