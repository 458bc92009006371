package holding_test

import (
	"slices"
	"testing"

	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/shared/api"
)

func claim(host string, generations ...int) api.Claim {
	c := api.Claim{UID: "claim-1", LoadBalancer: api.LoadBalancer{ARN: "arn:" + host, Host: host}}
	for n, generation := range generations {
		c.Ports = append(c.Ports, api.ClaimedPort{
			Port: api.Port{Name: "game"}, ListenerPort: 30000 + n, Fence: api.Fence{Lease: "lb", Epoch: string(rune('a' + n)), Generation: generation},
		})
	}
	return c
}

func TestAdoptTellsWhetherTheClaimMoved(t *testing.T) {
	for name, c := range map[string]struct {
		before, after api.Claim
		moved         bool
		leftovers     int
	}{
		"same":         {claim("h", 1, 1), claim("h", 1, 1), false, 0},
		"first":        {api.Claim{}, claim("h", 1), true, 0},
		"other fence":  {claim("h", 1, 1), claim("h", 1, 2), true, 1},
		"other host":   {claim("h", 1), claim("other", 1), true, 0},
		"another port": {claim("h", 1), claim("h", 1, 1), true, 0},
		"fewer ports":  {claim("h", 1, 1), claim("h", 1), true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := holding.New()
			h.Adopt(c.before)
			for _, p := range c.before.Ports {
				h.Update(p.Fence, func(b *holding.Binding) { b.TargetGroup = "group" })
			}
			h.Moved = false
			if moved := h.Adopt(c.after); moved != c.moved || h.Moved != c.moved {
				t.Errorf("moved is %v and %v, want %v", moved, h.Moved, c.moved)
			}
			leftovers := h.TakeLeftovers()
			if len(leftovers) != c.leftovers || len(h.TakeLeftovers()) != 0 {
				t.Errorf("leftovers are %+v, want %d", leftovers, c.leftovers)
			}
			for _, l := range leftovers {
				if l.TargetGroup != "group" || l.Claim.LoadBalancer.ARN != c.before.LoadBalancer.ARN {
					t.Errorf("the leftover is %+v", l)
				}
			}
		})
	}
}

func TestOnlyBindingsThatExistAreLeftOver(t *testing.T) {
	h := holding.New()
	h.Adopt(claim("h", 1, 1, 1))
	h.ListenerRecorded(h.Claim.Ports[1].Fence, "listener")
	h.Update(h.Claim.Ports[2].Fence, func(b *holding.Binding) { b.TargetGroup = "group" })
	h.Drop()
	if l := h.TakeLeftovers(); len(l) != 2 || l[0].Listener != "listener" || l[1].TargetGroup != "group" || h.Claim.UID != "" {
		t.Errorf("leftovers are %+v, the claim is %+v", l, h.Claim)
	}
}

func TestAdoptedPortsAreACopy(t *testing.T) {
	c := claim("h", 1)
	h := holding.New()
	h.Adopt(c)
	h.TargetGroupRecorded(c.Ports[0].Fence, "group")
	if c.Ports[0].TargetGroupARN != "" || h.Claim.Ports[0].TargetGroupARN != "group" {
		t.Errorf("the argument has %+v, the holding %+v", c.Ports[0], h.Claim.Ports[0])
	}
}

func TestOwnKnowledgeWinsOverTheLedger(t *testing.T) {
	h := holding.New()
	h.Adopt(claim("h", 1))
	f := h.Claim.Ports[0].Fence
	if h.HasListener() {
		t.Error("a new claim has a listener")
	}
	h.TargetGroupRecorded(f, "recorded group")
	h.ListenerRecorded(f, "recorded listener")
	h.Update(f, func(b *holding.Binding) { b.TargetGroup = "own group" })
	p := h.Presented()[0]
	if p.TargetGroupARN != "own group" || p.ListenerARN != "recorded listener" || !h.HasListener() {
		t.Errorf("it presents %+v", p)
	}
}

func TestDamagedPortIsUnboundAndNotHealthy(t *testing.T) {
	h := holding.New()
	h.Adopt(claim("h", 1, 1))
	for _, p := range h.Claim.Ports {
		h.Update(p.Fence, func(b *holding.Binding) { *b = holding.Binding{TargetGroup: "group", Bound: true, Healthy: true} })
	}
	h.MarkDamaged(h.Claim.Ports[1].Fence)
	want := h.Claim.Ports[1:]
	same := func(a, b api.ClaimedPort) bool { return a.Fence == b.Fence }
	if !slices.EqualFunc(h.Unbound(), want, same) || !slices.EqualFunc(h.NotHealthy(), want, same) || h.Presented()[1].TargetGroupARN != "group" {
		t.Errorf("unbound %+v, not healthy %+v", h.Unbound(), h.NotHealthy())
	}
	if h.ForgetTargetStates(); len(h.NotHealthy()) != 2 || len(h.Unbound()) != 1 {
		t.Errorf("then unbound %+v, not healthy %+v", h.Unbound(), h.NotHealthy())
	}
}
