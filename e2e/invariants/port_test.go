package invariants_test

import (
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/elb"
)

func in(state ledger.PortState, change ...func(*ledger.Port)) *ledger.Port {
	p := bound()
	p.State = state
	if !p.Held() {
		p.Holder, p.TargetGroupARN, p.ListenerARN = "", "", ""
	}
	for _, c := range change {
		c(&p)
	}
	return &p
}

func next(p *ledger.Port) {
	p.State, p.Generation, p.Holder, p.Pod, p.TargetGroupARN = ledger.Claimed, 5, "claim-u2", "game-2", ""
}

func restored(p *ledger.Port) { p.NextEpoch = "f" }

func TestPortChangeKeepsToTheStatesOfAHolding(t *testing.T) {
	noLicense := func(p *ledger.Port) { p.TargetGroupARN = "" }
	for name, c := range map[string]struct {
		before, now *ledger.Port
		early       bool
		want        string
	}{
		"deleted":                          {in(ledger.Bound), nil, false, "S1"},
		"deleted in its cooldown":          {in(ledger.Cooldown), nil, false, "S1"},
		"deleted while it is blocked":      {in(ledger.Blocked), nil, false, "S1"},
		"deleted while it is free":         {in(ledger.Free), nil, false, ""},
		"begins claimed":                   {nil, in(ledger.Claimed), false, ""},
		"begins blocked":                   {nil, &ledger.Port{State: ledger.Blocked}, false, ""},
		"begins free":                      {nil, &ledger.Port{State: ledger.Free}, false, "S1"},
		"begins bound":                     {nil, in(ledger.Bound), false, "S1"},
		"begins blocked with a holder":     {nil, &ledger.Port{State: ledger.Blocked, Holder: "claim-u1"}, false, "S1"},
		"claimed to bound":                 {in(ledger.Claimed), in(ledger.Bound), false, ""},
		"bound to claimed for a repair":    {in(ledger.Bound), in(ledger.Claimed), false, ""},
		"bound to releasing":               {in(ledger.Bound), in(ledger.Releasing), false, ""},
		"releasing to cooldown":            {in(ledger.Releasing), in(ledger.Cooldown), false, ""},
		"cooldown to free":                 {in(ledger.Cooldown), in(ledger.Free), false, ""},
		"cooldown cut short":               {in(ledger.Cooldown), in(ledger.Free), true, "S2"},
		"cooldown goes on":                 {in(ledger.Cooldown), in(ledger.Cooldown), true, ""},
		"blocked and unblocked":            {in(ledger.Blocked), in(ledger.Free), false, ""},
		"claimed to free":                  {in(ledger.Claimed, noLicense), in(ledger.Free), false, ""},
		"claimed with a license to free":   {in(ledger.Claimed), in(ledger.Free), false, "S2"},
		"claimed with a license, blocked":  {in(ledger.Claimed), in(ledger.Blocked), false, "S2"},
		"bound to free":                    {in(ledger.Bound), in(ledger.Free), false, "S2"},
		"bound to cooldown":                {in(ledger.Bound), in(ledger.Cooldown), false, "S2"},
		"releasing to bound":               {in(ledger.Releasing), in(ledger.Bound), false, "S2"},
		"releasing to free":                {in(ledger.Releasing), in(ledger.Free), false, "S2"},
		"epoch changes":                    {in(ledger.Bound), in(ledger.Bound, func(p *ledger.Port) { p.Epoch = "f" }), false, "S1"},
		"epoch changes with the holder":    {in(ledger.Free), in(ledger.Free, next, func(p *ledger.Port) { p.Epoch = "f" }), false, "S1"},
		"a restored lease goes on":         {in(ledger.Free, restored), in(ledger.Free, next), false, "S1"},
		"a restored lease begins anew":     {in(ledger.Free, restored), in(ledger.Free, next, func(p *ledger.Port) { p.Epoch = "f" }), false, ""},
		"a restored lease begins too soon": {in(ledger.Bound, restored), in(ledger.Bound, func(p *ledger.Port) { p.Epoch = "f" }), false, "S1"},
		"a later holding is restored":      {in(ledger.Free, restored), in(ledger.Free, next, restored), false, ""},
		"epoch of a port never held":       {in(ledger.Blocked, func(p *ledger.Port) { p.Epoch, p.Generation = "", 0 }), in(ledger.Blocked, func(p *ledger.Port) { p.Generation = 0 }), false, ""},
		"generation falls":                 {in(ledger.Bound), in(ledger.Bound, func(p *ledger.Port) { p.Generation = 3 }), false, "S2"},
		"holder changes":                   {in(ledger.Bound), in(ledger.Bound, func(p *ledger.Port) { p.Holder = "claim-u2" }), false, "S1"},
		"new holder of a free port":        {in(ledger.Free), in(ledger.Free, next), false, ""},
		"new holder during the cooldown":   {in(ledger.Cooldown), in(ledger.Cooldown, next), false, "S2"},
		"same name during the cooldown":    {in(ledger.Cooldown), in(ledger.Cooldown, next, func(p *ledger.Port) { p.Pod = "game-1" }), true, ""},
		"same name in another namespace":   {in(ledger.Cooldown), in(ledger.Cooldown, next, func(p *ledger.Port) { p.Pod, p.Namespace = "game-1", "other" }), true, "S2"},
		"new holder of a bound port":       {in(ledger.Bound), in(ledger.Bound, next), false, "S2"},
		"new holder of a blocked port":     {in(ledger.Blocked), in(ledger.Blocked, next), false, "S2"},
		"new holder skips a generation":    {in(ledger.Free), in(ledger.Free, next, func(p *ledger.Port) { p.Generation = 6 }), false, "S1"},
		"new holder begins bound":          {in(ledger.Free), in(ledger.Free, next, func(p *ledger.Port) { p.State = ledger.Bound }), false, "S1"},
		"comes back to a blocked port":     {in(ledger.Cooldown, func(p *ledger.Port) { p.BlockedBy = "alice" }), in(ledger.Cooldown, next, func(p *ledger.Port) { p.Pod = "game-1" }), false, "blocked"},
	} {
		t.Run(name, func(t *testing.T) {
			broken(t, invariants.PortChange{Name: lease, Before: c.before, Now: c.now, CooledDown: !c.early}.Check(), c.want)
		})
	}
}

func TestNothingOfEarlierHoldingsIsLeftOnceUnbound(t *testing.T) {
	moved := func(s *elbemu.Snapshot) { s.Listeners[0].LoadBalancerARN, s.Listeners[0].Port = "arn:lb2", 31000 }
	noGroup := func(s *elbemu.Snapshot) { s.TargetGroups = nil }
	generation := func(g string) func(*elbemu.Snapshot) {
		return func(s *elbemu.Snapshot) { s.Listeners[0].Tags[elb.TagGeneration] = g }
	}
	confirmed := invariants.PortChange{Name: lease, Before: in(ledger.Releasing), Now: in(ledger.Cooldown)}
	taken := invariants.PortChange{Name: lease, Before: in(ledger.Free), Now: in(ledger.Free, next)}
	for name, c := range map[string]struct {
		change invariants.PortChange
		aws    []func(*elbemu.Snapshot)
		want   string
	}{
		"nothing there":                {confirmed, []func(*elbemu.Snapshot){noGroup, func(s *elbemu.Snapshot) { s.Listeners = nil }}, ""},
		"target group there":           {confirmed, []func(*elbemu.Snapshot){func(s *elbemu.Snapshot) { s.Listeners = nil }}, "S2"},
		"listener there":               {confirmed, []func(*elbemu.Snapshot){noGroup}, "S2"},
		"listener moved away":          {confirmed, []func(*elbemu.Snapshot){noGroup, moved}, "S2"},
		"listener of a newer holding":  {confirmed, []func(*elbemu.Snapshot){noGroup, generation("5")}, ""},
		"listener without generation":  {confirmed, []func(*elbemu.Snapshot){noGroup, generation("")}, "S2"},
		"listener of another ledger":   {confirmed, []func(*elbemu.Snapshot){noGroup, func(s *elbemu.Snapshot) { s.Listeners[0].Tags[elb.TagLedger] = "other" }}, ""},
		"taken, earlier listener":      {taken, []func(*elbemu.Snapshot){noGroup}, "S2"},
		"taken, earlier target group":  {taken, []func(*elbemu.Snapshot){generation("5")}, "S2"},
		"taken, its own listener":      {taken, []func(*elbemu.Snapshot){noGroup, generation("5")}, ""},
		"neither confirmed nor taken":  {invariants.PortChange{Name: lease, Before: in(ledger.Bound), Now: in(ledger.Releasing)}, nil, ""},
		"first holder of a fresh port": {invariants.PortChange{Name: lease, Now: in(ledger.Claimed)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := aws()
			for _, change := range c.aws {
				change(&s)
			}
			broken(t, c.change.Unbound(s, own, "arn:tg"), c.want)
		})
	}
}

func TestPortIsTakenBackWhenItsHoldingEnds(t *testing.T) {
	for name, c := range map[string]struct {
		before, now *ledger.Port
		want        bool
	}{
		"bound to releasing":         {in(ledger.Bound), in(ledger.Releasing), true},
		"claimed to free":            {in(ledger.Claimed), in(ledger.Free), true},
		"bound to somebody else's":   {in(ledger.Bound), in(ledger.Bound, next), true},
		"deleted":                    {in(ledger.Bound), nil, true},
		"bound to claimed":           {in(ledger.Bound), in(ledger.Claimed), false},
		"releasing to cooldown":      {in(ledger.Releasing), in(ledger.Cooldown), false},
		"free to somebody's":         {in(ledger.Free), in(ledger.Free, next), false},
		"the first write of a lease": {nil, in(ledger.Claimed), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (invariants.PortChange{Name: lease, Before: c.before, Now: c.now}).TakenBack(); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestListenerIsOfThePresentHolding(t *testing.T) {
	port := invariants.PortRecord{Name: lease, Value: bound()}
	broken(t, invariants.Listeners(port, aws(), own), "")
	broken(t, invariants.Listeners(port, aws(), "other"), "")
	port.Value.Generation = 5
	broken(t, invariants.Listeners(port, aws(), own), "S2")
	port.Value = *in(ledger.Cooldown)
	broken(t, invariants.Listeners(port, aws(), own), "S2")
}

func TestBoundPortForwardsToItsHolderAlone(t *testing.T) {
	port := invariants.PortRecord{Name: lease, Value: bound()}
	for name, c := range map[string]struct {
		change func(*elbemu.Snapshot)
		want   string
	}{
		"as it should be":      {func(*elbemu.Snapshot) {}, ""},
		"no listener":          {func(s *elbemu.Snapshot) { s.Listeners = nil }, "bound"},
		"another target group": {func(s *elbemu.Snapshot) { s.Listeners[0].Forwards[0].TargetGroupARN = "arn:tg2" }, "bound"},
		"two target groups":    {func(s *elbemu.Snapshot) { s.Listeners[0].Forwards = append(s.Listeners[0].Forwards, elbemu.Forward{}) }, "bound"},
		"no target group":      {func(s *elbemu.Snapshot) { s.TargetGroups = nil }, "bound"},
		"no target":            {func(s *elbemu.Snapshot) { s.TargetGroups[0].Targets = nil }, "bound"},
		"another address":      {func(s *elbemu.Snapshot) { s.TargetGroups[0].Targets[0].ID = "10.0.0.9" }, "bound"},
		"another, draining": {func(s *elbemu.Snapshot) {
			s.TargetGroups[0].Targets[0] = elbemu.Target{ID: "10.0.0.9", State: "draining"}
		}, ""},
		"one address too many": {func(s *elbemu.Snapshot) {
			s.TargetGroups[0].Targets = append(s.TargetGroups[0].Targets, elbemu.Target{ID: "10.0.0.9"})
		}, "bound"},
		"the holder's previous": {func(s *elbemu.Snapshot) { s.TargetGroups[0].Targets[0].ID = "10.0.0.2" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := aws()
			c.change(&s)
			err := invariants.Listening(port, s)
			if err == nil {
				err = invariants.Forwarding(port, []string{"10.0.0.1", "10.0.0.2"}, s)
			}
			broken(t, err, c.want)
		})
	}
	port.Value.State = ledger.Claimed
	broken(t, invariants.Listening(port, elbemu.Snapshot{}), "")
}
