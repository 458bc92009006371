package ledger

// Changes are the changes of a cache since somebody asked last. The zero value is none.
type Changes struct {
	// Names are those of the records that were added, replaced or removed.
	Names []string
	// All is true, and Names is empty, if any record may have changed: at first, and when
	// there were more changes than there are records.
	All bool
}

// follower collects Changes.
type follower struct {
	names map[string]struct{}
	all   bool
}

// Follow returns a function that returns the changes since its last call. It must not be
// called while the Index is used.
func (x *Index[T]) Follow() func() Changes {
	f := &follower{names: make(map[string]struct{}), all: true}
	x.followers = append(x.followers, f)
	return func() Changes {
		c := Changes{All: f.all}
		for name := range f.names {
			c.Names = append(c.Names, name)
		}
		clear(f.names)
		f.all = false
		return c
	}
}

// changed tells the followers of a change. What a follower keeps is bounded, though nobody
// may ask for it, and records come and go.
func (x *Index[T]) changed(name string) {
	for _, f := range x.followers {
		switch {
		case f.all:
		case len(f.names) > len(x.byName):
			clear(f.names)
			f.all = true
		default:
			f.names[name] = struct{}{}
		}
	}
}
