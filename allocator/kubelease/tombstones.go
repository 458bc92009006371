package kubelease

// gravesKept is how many deletions are remembered: far more than happen while
// any answer or event about one of them may still be on its way.
const gravesKept = 4096

// tombstones remembers the last deleted records, so that neither a late event nor a
// late answer brings them back. The zero value is empty.
type tombstones struct {
	// last is UID → the version that was the record's last; final if none can
	// follow.
	last map[string]string
	// ring has the UIDs in the order of their deletion; oldest is the next to be
	// forgotten.
	ring   []string
	oldest int
}

// final is the version after which nothing comes. The watch says "deleted" also
// of a Lease that has only lost its label, and that may come back.
const final = ""

// hold tells whether that version of a record is one that was deleted.
func (g *tombstones) hold(uid, version string) bool {
	last, buried := g.last[uid]
	return buried && (last == final || !newer(version, last))
}

func (g *tombstones) add(uid, version string) {
	if last, buried := g.last[uid]; buried {
		if last != final {
			g.last[uid] = version
		}
		return
	}
	if g.last == nil {
		g.last = make(map[string]string)
	}
	g.last[uid] = version
	if len(g.ring) < gravesKept {
		g.ring = append(g.ring, uid)
		return
	}
	delete(g.last, g.ring[g.oldest])
	g.ring[g.oldest] = uid
	g.oldest = (g.oldest + 1) % gravesKept
}
