package kubelease

import (
	"strconv"
	"testing"
)

func TestTombstonesHoldWhatWasDeleted(t *testing.T) {
	var g tombstones
	if g.hold("u", "7") {
		t.Error("an empty one holds something")
	}
	g.add("u", "7")
	for version, want := range map[string]bool{"6": true, "7": true, "8": false, "10": false} {
		if g.hold("u", version) != want {
			t.Errorf("deleted at 7, version %s: held %v", version, !want)
		}
	}
	g.add("u", "9")
	if !g.hold("u", "9") || g.hold("u", "10") {
		t.Error("the later deletion does not count")
	}
	g.add("u", final)
	g.add("u", "9") // the watch tells late what is known already
	if !g.hold("u", "10") {
		t.Error("what is gone for good comes back")
	}
	if g.hold("other", "1") {
		t.Error("another record is held")
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	var g tombstones
	for i := range 3 * gravesKept {
		g.add(strconv.Itoa(i), final)
		g.add(strconv.Itoa(i), final) // told twice, remembered once
	}
	if len(g.last) != gravesKept || len(g.ring) != gravesKept {
		t.Errorf("%d and %d are kept", len(g.last), len(g.ring))
	}
	for i := range 3 * gravesKept {
		if want := i >= 2*gravesKept; g.hold(strconv.Itoa(i), "1") != want {
			t.Fatalf("number %d is held: %v; the last %d should be", i, !want, gravesKept)
		}
	}
}
