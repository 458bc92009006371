package kubelease

// maxTombstones is far more than the number of deletions while any answer or event
// about one of them is still in flight.
const maxTombstones = 4096

// tombstones remembers the last deleted records, so that a late event or answer does
// not bring one back. The zero value is empty.
type tombstones struct {
	// last maps UIDs to the last version of the record, or final.
	last map[string]string
	// ring has the UIDs in the order of their deletion; oldest is the index of the one
	// to be dropped next.
	ring   []string
	oldest int
}

// final means that no later version can exist. The watch also reports a Lease as
// deleted that only lost its label, and that one may come back.
const final = ""

// has reports whether this version of a record was deleted.
func (t *tombstones) has(uid, version string) bool {
	last, deleted := t.last[uid]
	return deleted && (last == final || !newer(version, last))
}

func (t *tombstones) add(uid, version string) {
	if last, deleted := t.last[uid]; deleted {
		if last != final {
			t.last[uid] = version
		}
		return
	}
	if t.last == nil {
		t.last = make(map[string]string)
	}
	t.last[uid] = version
	if len(t.ring) < maxTombstones {
		t.ring = append(t.ring, uid)
		return
	}
	delete(t.last, t.ring[t.oldest])
	t.ring[t.oldest] = uid
	t.oldest = (t.oldest + 1) % maxTombstones
}
