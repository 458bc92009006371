package janitor_test

import (
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

func TestPlan(t *testing.T) {
	other := api.Fence{Lease: fence.Lease, Epoch: fence.Epoch, Generation: fence.Generation + 1}
	listing := func(s ledger.ClaimState) []claimRecord { return []claimRecord{claimIn(s, fence)} }
	port := func(s ledger.PortState, a ledger.AgentPart) []portRecord { return []portRecord{portIn(s, a)} }
	registered := func(a ledger.AgentPart) []portRecord {
		p := portIn(ledger.Releasing, a)
		p.Value.TargetGroupARN = "group"
		return []portRecord{p}
	}
	const never = 1000 * time.Hour
	for _, test := range []struct {
		name   string
		claims []claimRecord
		ports  []portRecord
		// claimAge and portAge are how long they were seen unchanged.
		claimAge, portAge time.Duration
		want              []janitor.Kind
	}{
		{"empty ledger", nil, nil, 0, 0, nil},

		{"waiting, fresh", listing(ledger.Waiting), nil, duration - 1, 0, nil},
		{"waiting, expired", listing(ledger.Waiting), nil, duration, 0, []janitor.Kind{janitor.CheckExpiry}},
		{"granted, fresh", listing(ledger.Granted), nil, duration - 1, 0, nil},
		{"granted, expired", listing(ledger.Granted), nil, duration, 0, []janitor.Kind{janitor.CheckExpiry}},
		{"releasing without ports", listing(ledger.ClaimReleasing), nil, 0, 0, []janitor.Kind{janitor.DeleteClaim}},
		{"releasing does not expire", listing(ledger.ClaimReleasing), nil, never, 0, []janitor.Kind{janitor.DeleteClaim}},
		{"unknown state", listing("of a later version"), nil, never, never, nil},
		{"unreadable", listing(""), nil, never, never, nil},

		{"free", nil, port(ledger.Free, ""), 0, never, nil},
		{"cooldown, not over", nil, port(ledger.Cooldown, ""), 0, cooldown - 1, nil},
		{"cooldown, over", nil, port(ledger.Cooldown, ""), 0, cooldown, []janitor.Kind{janitor.EndCooldown}},
		{"unknown port state", nil, port("of a later version", ""), 0, never, nil},
		{"unreadable port", nil, port("", ""), 0, never, nil},

		{"releasing without its agent", nil, port(ledger.Releasing, ledger.AgentAbsent), 0, 0, []janitor.Kind{janitor.Unbind}},
		{"releasing by its agent", nil, port(ledger.Releasing, ledger.AgentUnbinding), 0, timing.AgentGrace - 1, nil},
		{"releasing by its agent, too slowly", nil, port(ledger.Releasing, ledger.AgentUnbinding), 0, timing.AgentGrace, []janitor.Kind{janitor.Unbind}},
		{"releasing, its agent is done", nil, port(ledger.Releasing, ledger.AgentDone), 0, 0, []janitor.Kind{janitor.Unbind}},
		{"its target is registered", nil, registered(ledger.AgentAbsent), 0, 0, []janitor.Kind{janitor.Deregister, janitor.Unbind}},
		{"its agent deregisters it", nil, registered(ledger.AgentDeregistering), 0, timing.DeregisterGrace - 1, []janitor.Kind{janitor.Unbind}},
		{"its agent deregisters it too slowly", nil, registered(ledger.AgentDeregistering), 0, timing.DeregisterGrace, []janitor.Kind{janitor.Deregister, janitor.Unbind}},
		{"its agent unbinds without deregistering it", nil, registered(ledger.AgentUnbinding), 0, timing.DeregisterGrace, []janitor.Kind{janitor.Deregister}},
		{"releasing keeps its claim", listing(ledger.ClaimReleasing), port(ledger.Releasing, ledger.AgentUnbinding), 0, 0, nil},

		{"claimed and listed", listing(ledger.Granted), port(ledger.Claimed, ""), 0, never, nil},
		{"claimed while waiting", listing(ledger.Waiting), port(ledger.Claimed, ""), 0, never, nil},
		{"bound and listed", listing(ledger.Granted), port(ledger.Bound, ""), 0, never, nil},
		{"bound, its claim expired", listing(ledger.Granted), port(ledger.Bound, ""), duration, never, []janitor.Kind{janitor.CheckExpiry}},
		{"claimed, its claim is releasing", listing(ledger.ClaimReleasing), port(ledger.Claimed, ""), 0, 0, []janitor.Kind{janitor.BeginRelease}},
		{"bound, its claim is releasing", listing(ledger.ClaimReleasing), port(ledger.Bound, ""), 0, 0, []janitor.Kind{janitor.BeginRelease}},
		{"claimed without a claim", nil, port(ledger.Claimed, ""), 0, 0, []janitor.Kind{janitor.CheckOwner}},
		{"bound without a claim", nil, port(ledger.Bound, ""), 0, 0, []janitor.Kind{janitor.CheckOwner}},
		{"bound and not listed", []claimRecord{claimIn(ledger.Granted)}, port(ledger.Bound, ""), 0, 0, []janitor.Kind{janitor.CheckOwner}},
		{"listed in another generation", []claimRecord{claimIn(ledger.Granted, other)}, port(ledger.Bound, ""), 0, 0, []janitor.Kind{janitor.CheckOwner}},
		{"not listed by a releasing claim", []claimRecord{claimIn(ledger.ClaimReleasing)}, port(ledger.Bound, ""), 0, 0, []janitor.Kind{janitor.CheckOwner}},
	} {
		t.Run(test.name, func(t *testing.T) {
			age := func(name, version string) time.Duration {
				switch name + "@" + version {
				case "claim-1@7":
					return test.claimAge
				case "lb-30000@9":
					return test.portAge
				}
				t.Errorf("asked for the age of %s@%s", name, version)
				return 0
			}
			got := janitor.Plan(pointers(test.claims...), pointers(test.ports...), age, timing)
			var kinds []janitor.Kind
			for _, a := range got {
				kinds = append(kinds, a.Kind)
				checkRecord(t, a)
			}
			if !slices.Equal(kinds, test.want) {
				t.Errorf("got %v, want %v", kinds, test.want)
			}
		})
	}
}

// checkRecord checks that an action has the record it is about.
func checkRecord(t *testing.T, a janitor.Action) {
	t.Helper()
	switch a.Kind {
	case janitor.CheckExpiry, janitor.DeleteClaim:
		if a.Port != nil || a.Claim == nil || a.Claim.Name != "claim-1" || a.Claim.Version != "7" {
			t.Errorf("%s has %+v, %+v", a.Kind, a.Claim, a.Port)
		}
	case janitor.BeginRelease, janitor.CheckOwner, janitor.Deregister, janitor.Unbind, janitor.EndCooldown:
		if a.Claim != nil || a.Port == nil || a.Port.Name != fence.Lease || a.Port.Version != "9" {
			t.Errorf("%s has %+v, %+v", a.Kind, a.Claim, a.Port)
		}
	}
	if a.Kind == janitor.BeginRelease && a.Agent != ledger.AgentUnbinding {
		t.Errorf("the agent's part is %q, not that of the claim", a.Agent)
	}
}

func TestPlanOrdersActions(t *testing.T) {
	port := func(n int, holder string, s ledger.PortState) portRecord {
		r := portIn(s, "")
		r.Name, r.Value.Holder = ledger.PortName("lb", n), holder
		return r
	}
	claim := func(name string, s ledger.ClaimState, lists ...string) claimRecord {
		r := claimIn(s)
		r.Name = name
		for _, lease := range lists {
			r.Value.Ports = append(r.Value.Ports, ledger.PlannedPort{Fence: api.Fence{Lease: lease, Epoch: "e", Generation: 3}})
		}
		return r
	}
	claims := []claimRecord{
		claim("claim-released", ledger.ClaimReleasing), claim("claim-releasing", ledger.ClaimReleasing, "lb-2"), claim("claim-old", ledger.Granted),
		claim("claim-older", ledger.Waiting),
	}
	left := port(3, "claim-left", ledger.Releasing)
	left.Value.TargetGroupARN = "group"
	ports := []portRecord{
		port(1, "", ledger.Cooldown), port(4, "claim-gone", ledger.Bound), left, port(2, "claim-releasing", ledger.Bound),
	}
	var got []string
	for _, a := range janitor.Plan(pointers(claims...), pointers(ports...), func(string, string) time.Duration { return duration }, timing) {
		if a.Claim != nil {
			got = append(got, string(a.Kind)+" "+a.Claim.Name)
		} else {
			got = append(got, string(a.Kind)+" "+a.Port.Name)
		}
	}
	want := []string{"check expiry claim-old", "check expiry claim-older", "begin release lb-2", "check owner lb-4", "end cooldown lb-1", "delete claim claim-released", "deregister lb-3", "unbind lb-3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
