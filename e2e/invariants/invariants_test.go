package invariants_test

import (
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const (
	own   = "cluster/portlease"
	lease = "lb-30000"
)

// bound is a port of pod u1, with its listener and target group in aws.
func bound() ledger.Port {
	return ledger.Port{
		LoadBalancerARN: "arn:lb", ListenerPort: 30000, State: ledger.Bound, Holder: "claim-u1", Epoch: "e", Generation: 4,
		Namespace: "games", Pod: "game-1", PodUID: "u1", TargetGroupARN: "arn:tg", ListenerARN: "arn:l",
	}
}

func tags(generation int) map[string]string {
	return elb.Tags{Ledger: own, Namespace: "games", Pod: "game-1", PodUID: "u1", Lease: lease, Epoch: "e", Generation: generation}.Map()
}

func aws() elbemu.Snapshot {
	return elbemu.Snapshot{
		Listeners: []elbemu.Listener{{
			ARN: "arn:l", LoadBalancerARN: "arn:lb", Port: 30000, Tags: tags(4), Forwards: []elbemu.Forward{{TargetGroupARN: "arn:tg"}},
		}},
		TargetGroups: []elbemu.TargetGroup{{ARN: "arn:tg", Name: "tg", Tags: tags(4), Targets: []elbemu.Target{{ID: "10.0.0.1", State: "healthy"}}}},
	}
}

func claim(uid string, f api.Fence) invariants.ClaimRecord {
	return invariants.ClaimRecord{Name: ledger.ClaimName(uid), Value: ledger.Claim{
		Pod: "game", PodUID: uid, PodIP: "10.0.0.1", State: ledger.Granted, Ports: []ledger.PlannedPort{{ListenerPort: 30000, Fence: f}},
	}}
}

// broken fails unless an error is about the guarantee; an empty one wants no error.
func broken(t *testing.T, err error, want string) {
	t.Helper()
	if got := invariants.Guarantee(err); got != want || want == "" && err != nil {
		t.Errorf("got %v, want a violation of %q", err, want)
	}
}

func TestHoldingIsInOneGrantedClaim(t *testing.T) {
	f := api.Fence{Lease: lease, Epoch: "e", Generation: 4}
	one, two := claim("u1", f), claim("u2", f)
	broken(t, invariants.Holders([]invariants.ClaimRecord{one, two}), "S1")
	two.Value.State = ledger.ClaimReleasing
	broken(t, invariants.Holders([]invariants.ClaimRecord{one, two}), "")
	broken(t, invariants.Holders([]invariants.ClaimRecord{one, claim("u2", api.Fence{Lease: lease, Epoch: "e", Generation: 5})}), "")
}

func TestPodIPIsTargetOfOnePod(t *testing.T) {
	f := api.Fence{Lease: lease, Epoch: "e", Generation: 4}
	claims := []invariants.ClaimRecord{claim("u1", f), claim("u2", f)}
	claims[1].Value.State = ledger.ClaimReleasing // its listener still forwards
	for name, c := range map[string]struct {
		change func(second *elbemu.TargetGroup)
		except []string
		want   string
	}{
		"two pods":           {func(*elbemu.TargetGroup) {}, nil, "S6"},
		"excepted address":   {func(*elbemu.TargetGroup) {}, []string{"10.0.0.1"}, ""},
		"draining":           {func(g *elbemu.TargetGroup) { g.Targets = []elbemu.Target{{ID: "10.0.0.1", State: "draining"}} }, nil, ""},
		"same pod":           {func(g *elbemu.TargetGroup) { g.Tags[elb.TagPodUID] = "u1" }, nil, ""},
		"pod without claim":  {func(g *elbemu.TargetGroup) { g.Tags[elb.TagPodUID] = "u3" }, nil, ""},
		"another ledger":     {func(g *elbemu.TargetGroup) { g.Tags[elb.TagLedger] = "other" }, nil, ""},
		"another pod's IP":   {func(g *elbemu.TargetGroup) { g.Targets[0].ID = "10.0.0.2" }, nil, ""},
		"two, the last ours": {func(g *elbemu.TargetGroup) { g.Targets = append([]elbemu.Target{{ID: "10.0.0.2"}}, g.Targets...) }, nil, "S6"},
	} {
		t.Run(name, func(t *testing.T) {
			s := aws()
			second := elbemu.TargetGroup{ARN: "arn:tg2", Tags: tags(4), Targets: []elbemu.Target{{ID: "10.0.0.1"}}}
			second.Tags[elb.TagPodUID] = "u2"
			c.change(&second)
			s.TargetGroups = append(s.TargetGroups, second)
			broken(t, invariants.Targets(claims, s, own, c.except...), c.want)
		})
	}
}

func TestForeignIsWhatAnotherLedgerOrNobodyTagged(t *testing.T) {
	s := aws()
	s.Listeners = append(s.Listeners, elbemu.Listener{ARN: "arn:theirs"})
	s.TargetGroups = append(s.TargetGroups, elbemu.TargetGroup{ARN: "arn:other", Tags: map[string]string{elb.TagLedger: "other"}})
	f := invariants.ForeignIn(s, own)
	if len(f.Listeners) != 1 || f.Listeners[0].ARN != "arn:theirs" || len(f.TargetGroups) != 1 || f.TargetGroups[0].ARN != "arn:other" {
		t.Errorf("got %+v", f)
	}
	if f := invariants.ForeignIn(s, ""); len(f.Listeners) != 2 || len(f.TargetGroups) != 2 {
		t.Errorf("an empty ID owns something: %+v", f)
	}
}

func TestLeftOverIsWhatNoHolderRecorded(t *testing.T) {
	port := invariants.PortRecord{Name: lease, Value: bound()}
	broken(t, invariants.LeftOver(aws(), own, invariants.Held([]invariants.PortRecord{port})), "")
	broken(t, invariants.LeftOver(aws(), "other", invariants.Held(nil)), "")
	port.Value.ListenerARN = ""
	broken(t, invariants.LeftOver(aws(), own, invariants.Held([]invariants.PortRecord{port})), "L1")
	port = invariants.PortRecord{Name: lease, Value: bound()}
	port.Value.TargetGroupARN = ""
	broken(t, invariants.LeftOver(aws(), own, invariants.Held([]invariants.PortRecord{port})), "L1")
	port = invariants.PortRecord{Name: lease, Value: bound()}
	port.Value.Holder = ""
	broken(t, invariants.LeftOver(aws(), own, invariants.Held([]invariants.PortRecord{port})), "L1")
}

func TestEmptyLedgerHasNoClaimAndNoHeldPort(t *testing.T) {
	rests := func(p ledger.Port) bool { return !p.Held() }
	free := invariants.PortRecord{Name: lease, Value: ledger.Port{State: ledger.Free}}
	broken(t, invariants.Empty(nil, []invariants.PortRecord{free}, rests), "")
	broken(t, invariants.Empty(nil, []invariants.PortRecord{{Name: lease, Value: bound()}}, rests), "L1")
	broken(t, invariants.Empty([]invariants.ClaimRecord{claim("u1", api.Fence{})}, []invariants.PortRecord{free}, rests), "L1")
}
