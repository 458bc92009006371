package claim

import (
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
)

func TestAvailable(t *testing.T) {
	c := ledger.Claim{Namespace: "games", Pod: "game-0"}
	own := ledger.Port{Namespace: "games", Pod: "game-0"}
	for _, test := range []struct {
		name          string
		port          ledger.Port
		state         ledger.PortState
		blockedBy     string
		foreign       string
		want          bool
		wantForOthers bool
	}{
		{"free", own, ledger.Free, "", "", true, true},
		{"cooling down from this pod", own, ledger.Cooldown, "", "", true, false},
		{"cooling down from this pod, blocked by an admin", own, ledger.Cooldown, "alice: flood", "", false, false},
		{"cooling down from this pod, with a foreign listener", own, ledger.Cooldown, "", "arn", false, false},
		{"free and just blocked", own, ledger.Free, "alice: flood", "", false, false},
		{"claimed", own, ledger.Claimed, "", "", false, false},
		{"bound", own, ledger.Bound, "", "", false, false},
		{"releasing", own, ledger.Releasing, "", "", false, false},
		{"blocked", own, ledger.Blocked, "", "", false, false},
		{"unreadable", own, "", "", "", false, false},
	} {
		test.port.State, test.port.BlockedBy, test.port.Foreign = test.state, test.blockedBy, test.foreign
		if got := available(test.port, c); got != test.want {
			t.Errorf("%s: %v for the pod that had it", test.name, got)
		}
		for _, other := range []ledger.Claim{
			{Namespace: "games", Pod: "game-1"}, {Namespace: "other", Pod: "game-0"},
			{Namespace: "games", Pod: "game-01"}, {Namespace: "games", Pod: "game"},
		} {
			if got := available(test.port, other); got != test.wantForOthers {
				t.Errorf("%s: %v for %s/%s", test.name, got, other.Namespace, other.Pod)
			}
		}
	}
}
