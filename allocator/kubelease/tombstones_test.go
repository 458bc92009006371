package kubelease

import (
	"strconv"
	"testing"
)

func TestTombstonesHaveDeletedVersions(t *testing.T) {
	var deleted tombstones
	if deleted.has("u", "7") {
		t.Error("an empty one has a version")
	}
	deleted.add("u", "7")
	for version, want := range map[string]bool{"6": true, "7": true, "8": false, "10": false} {
		if deleted.has("u", version) != want {
			t.Errorf("deleted at 7, version %s: has %v", version, !want)
		}
	}
	deleted.add("u", "9")
	if !deleted.has("u", "9") || deleted.has("u", "10") {
		t.Error("the later deletion is not recorded")
	}
	deleted.add("u", final)
	deleted.add("u", "9") // a late event of the watch
	if !deleted.has("u", "10") {
		t.Error("a later version of a finally deleted record is not there")
	}
	if deleted.has("other", "1") {
		t.Error("it has a version of another record")
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	var deleted tombstones
	for i := range 3 * maxTombstones {
		deleted.add(strconv.Itoa(i), final)
		deleted.add(strconv.Itoa(i), final) // added twice, remembered once
	}
	if len(deleted.last) != maxTombstones || len(deleted.ring) != maxTombstones {
		t.Errorf("%d and %d are remembered", len(deleted.last), len(deleted.ring))
	}
	for i := range 3 * maxTombstones {
		if want := i >= 2*maxTombstones; deleted.has(strconv.Itoa(i), "1") != want {
			t.Fatalf("has version 1 of record %d: %v; want only the last %d records", i, !want, maxTombstones)
		}
	}
}
