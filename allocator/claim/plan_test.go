package claim

import (
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
)

func TestOpen(t *testing.T) {
	c := ledger.Claim{Namespace: "games", Pod: "game-0"}
	own := ledger.Port{Namespace: "games", Pod: "game-0"}
	for _, test := range []struct {
		name          string
		port          ledger.Port
		state         ledger.PortState
		closed        string
		foreign       string
		want          bool
		wantForOthers bool
	}{
		{"free", own, ledger.Free, "", "", true, true},
		{"cooling down from this pod", own, ledger.Cooldown, "", "", true, false},
		{"cooling down from this pod, closed by a person", own, ledger.Cooldown, "alice: flood", "", false, false},
		{"cooling down from this pod, somebody else listens", own, ledger.Cooldown, "", "arn", false, false},
		{"free and just closed", own, ledger.Free, "alice: flood", "", false, false},
		{"claimed", own, ledger.Claimed, "", "", false, false},
		{"bound", own, ledger.Bound, "", "", false, false},
		{"releasing", own, ledger.Releasing, "", "", false, false},
		{"blocked", own, ledger.Blocked, "", "", false, false},
		{"unreadable", own, "", "", "", false, false},
	} {
		test.port.State, test.port.BlockedBy, test.port.Foreign = test.state, test.closed, test.foreign
		if got := open(test.port, c); got != test.want {
			t.Errorf("%s: %v for the pod that had it", test.name, got)
		}
		for _, other := range []ledger.Claim{
			{Namespace: "games", Pod: "game-1"}, {Namespace: "other", Pod: "game-0"},
			{Namespace: "games", Pod: "game-01"}, {Namespace: "games", Pod: "game"},
		} {
			if got := open(test.port, other); got != test.wantForOthers {
				t.Errorf("%s: %v for %s/%s", test.name, got, other.Namespace, other.Pod)
			}
		}
	}
}
