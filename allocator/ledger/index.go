package ledger

import (
	"cmp"
	"net/netip"
	"slices"
)

// Key is a property of records by which a table finds them in its cache.
type Key string

// everything is the key of all records.
const everything Key = ""

// ReleasingPorts are being released.
const ReleasingPorts Key = "releasing"

// PortsOf are the ports of a load balancer. It finds leases that cannot be read, too.
func PortsOf(loadBalancerID string) Key { return Key("lb/" + loadBalancerID) }

// PortsHeldBy are the ports that a claim holds or releases.
func PortsHeldBy(claim string) Key { return Key("holder/" + claim) }

// PortsOfPod are the ports whose current or last holder is a pod of that name.
func PortsOfPod(namespace, pod string) Key { return Key("pod/" + namespace + "/" + pod) }

// Keys of claims.
const (
	// PortlessClaims are waiting and have no plan.
	PortlessClaims Key = "portless"
	// UnreadableClaims have leases that cannot be read, and no other key.
	UnreadableClaims Key = "unreadable"
)

// ClaimsAt are the claims that record a pod IP.
func ClaimsAt(podIP string) Key {
	if ip, err := netip.ParseAddr(podIP); err == nil {
		podIP = ip.String() // an IPv6 address has several spellings
	}
	return Key("ip/" + podIP)
}

// QueueOf are the portless claims of a pool whose pod IP is confirmed, oldest first.
func QueueOf(pool string) Key { return Key("queue/" + pool) }

// ClaimsOf are the claims of a namespace to a pool.
func ClaimsOf(namespace, pool string) Key { return Key("namespace/" + namespace + "/" + pool) }

// CordonedLoadBalancers is the key of the cordons that are in force.
const CordonedLoadBalancers Key = "cordoned"

// keyed is a value with keys.
type keyed interface {
	keys(name string) []Key
}

func (p Port) keys(name string) []Key {
	var keys []Key
	if id, _, ok := SplitPortName(name); ok {
		keys = append(keys, PortsOf(id))
	}
	if p.Holder != "" {
		keys = append(keys, PortsHeldBy(p.Holder))
	}
	if p.Pod != "" {
		keys = append(keys, PortsOfPod(p.Namespace, p.Pod))
	}
	if p.State == Releasing {
		keys = append(keys, ReleasingPorts)
	}
	return keys
}

func (c Claim) keys(string) []Key {
	if c.State == "" && c.PodUID == "" {
		return []Key{UnreadableClaims}
	}
	keys := []Key{ClaimsOf(c.Namespace, c.Pool), ClaimsAt(c.PodIP)}
	if c.PreviousIP != "" && c.PreviousIP != c.PodIP {
		keys = append(keys, ClaimsAt(c.PreviousIP))
	}
	if c.State == Waiting && len(c.Ports) == 0 {
		keys = append(keys, PortlessClaims)
		if c.ConfirmedIP == c.PodIP {
			keys = append(keys, QueueOf(c.Pool))
		}
	}
	return keys
}

func (c Cordon) keys(string) []Key {
	if c.Cordoned == "" {
		return nil
	}
	return []Key{CordonedLoadBalancers}
}

// Index is a set of records that are found by name and by key, in a time that does not
// depend on how many there are. It is what a table keeps in its cache. It must not be used
// concurrently.
type Index[T any] struct {
	byName    map[string]*Record[T]
	byKey     map[Key]*bucket[T]
	followers []*follower
}

// bucket has the records with one key, oldest first.
type bucket[T any] struct {
	all []*Record[T]
	// shared is true once a reader has got all. Then it is copied before it is changed.
	shared bool
}

// own makes sure that no reader sees a change of the bucket.
func (b *bucket[T]) own() {
	if b.shared {
		b.all, b.shared = slices.Clone(b.all), false
	}
}

// NewIndex makes an empty Index.
func NewIndex[T any]() *Index[T] {
	return &Index[T]{byName: make(map[string]*Record[T]), byKey: make(map[Key]*bucket[T])}
}

// Put adds a record, in place of one of the same name.
func (x *Index[T]) Put(r Record[T]) {
	x.changed(r.Name)
	before, exists := x.byName[r.Name]
	keys := keysOf(&r)
	if exists && before.CreatedAt.Equal(r.CreatedAt) && slices.Equal(keysOf(before), keys) {
		x.replace(before, &r, keys)
		return
	}
	x.Remove(r.Name)
	x.byName[r.Name] = &r
	for _, k := range keys {
		if x.byKey[k] == nil {
			x.byKey[k] = &bucket[T]{}
		}
		b := x.byKey[k]
		b.own()
		at, _ := slices.BinarySearchFunc(b.all, &r, ByAge)
		b.all = slices.Insert(b.all, at, &r)
	}
}

// replace puts a record in the places of another that is as old and has the same keys.
func (x *Index[T]) replace(before, r *Record[T], keys []Key) {
	x.byName[r.Name] = r
	for _, k := range keys {
		b := x.byKey[k]
		b.own()
		at, _ := slices.BinarySearchFunc(b.all, before, ByAge)
		b.all[at] = r
	}
}

// Remove removes the record of that name, if there is one.
func (x *Index[T]) Remove(name string) {
	r, exists := x.byName[name]
	if !exists {
		return
	}
	delete(x.byName, name)
	x.changed(name)
	for _, k := range keysOf(r) {
		b := x.byKey[k]
		if len(b.all) == 1 {
			delete(x.byKey, k)
			continue
		}
		b.own()
		at, _ := slices.BinarySearchFunc(b.all, r, ByAge)
		b.all = slices.Delete(b.all, at, at+1)
	}
}

// Get returns the record of that name.
func (x *Index[T]) Get(name string) (Record[T], bool) {
	if r, exists := x.byName[name]; exists {
		return *r, true
	}
	return Record[T]{}, false
}

// All returns all records, as By does.
func (x *Index[T]) All() []*Record[T] { return x.By(everything) }

// By returns the records with a key, oldest first. Nobody may change them. The same slice
// is returned until one of them changes.
func (x *Index[T]) By(k Key) []*Record[T] {
	b := x.byKey[k]
	if b == nil {
		return nil
	}
	b.shared = true
	return slices.Clip(b.all)
}

func keysOf[T any](r *Record[T]) []Key {
	keys := []Key{everything}
	if v, ok := any(r.Value).(keyed); ok {
		keys = append(keys, v.keys(r.Name)...)
	}
	return keys
}

// ByAge orders records, oldest first. The API server's time decides, and the name for
// records of one second.
func ByAge[T any](a, b *Record[T]) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name))
}

// Same reports whether two slices that are never changed, such as answers of CachedBy, are
// one and the same, so that nothing has changed between them.
func Same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
