package auth

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// tokensPerCaller is how many tokens of one caller are cached: the kubelet replaces
	// a pod's token before it expires, and an agent reads the new one at its next call.
	tokensPerCaller = 4
	// minCached is how many tokens are cached at least, whatever the fleet.
	minCached = 4096
)

// tokenHash stands for a token, which is not kept itself.
type tokenHash [sha256.Size]byte

type review struct {
	caller Caller
	// expires is when the token has to be reviewed again. The entry stays after
	// that, as a token that was valid.
	expires time.Time
}

// cache has the accepted tokens of one kind. It grows with the fleet, and a caller with
// many tokens displaces its own, so that it cannot evict those of others.
type cache struct {
	fleet func() int

	mu     sync.Mutex // guards all below
	tokens *simplelru.LRU[tokenHash, review]
	// owned is a caller's name → its tokens in the cache, oldest first.
	owned map[string][]tokenHash
}

func newCache(fleet func() int) *cache {
	c := &cache{fleet: fleet, owned: make(map[string][]tokenHash)}
	tokens, err := simplelru.NewLRU(minCached, c.evictedLocked)
	if err != nil {
		panic(err) // only for a size below 1
	}
	c.tokens = tokens
	return c
}

func (c *cache) get(h tokenHash) (review, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokens.Get(h)
}

func (c *cache) add(h tokenHash, r review) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens.Resize(max(minCached, tokensPerCaller*c.fleet()))
	known := c.tokens.Contains(h)
	c.tokens.Add(h, r)
	if known {
		return
	}
	name := r.caller.name()
	c.owned[name] = append(c.owned[name], h)
	if own := c.owned[name]; len(own) > tokensPerCaller {
		c.tokens.Remove(own[0])
	}
}

func (c *cache) remove(h tokenHash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens.Remove(h)
}

// evictedLocked is called for every entry that leaves the cache.
func (c *cache) evictedLocked(h tokenHash, r review) {
	name := r.caller.name()
	own := slices.DeleteFunc(c.owned[name], func(other tokenHash) bool { return other == h })
	if len(own) == 0 {
		delete(c.owned, name)
		return
	}
	c.owned[name] = own
}
