package httpapi

import "container/list"

// recent is a map of bounded size, which forgets what was used longest ago. It
// is for one goroutine at a time.
type recent[K comparable, V any] struct {
	size int
	// order has *entry[K, V], the one used last in front.
	order *list.List
	at    map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](size int) *recent[K, V] {
	return &recent[K, V]{size: size, order: list.New(), at: make(map[K]*list.Element)}
}

func (r *recent[K, V]) get(key K) (value V, ok bool) {
	e, ok := r.at[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

func (r *recent[K, V]) put(key K, value V) {
	r.drop(key)
	if len(r.at) >= r.size {
		r.drop(r.order.Back().Value.(*entry[K, V]).key)
	}
	r.at[key] = r.order.PushFront(&entry[K, V]{key, value})
}

func (r *recent[K, V]) drop(key K) {
	if e, ok := r.at[key]; ok {
		r.order.Remove(e)
		delete(r.at, key)
	}
}
