package claim_test

import (
	"context"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// TestClaimIsRefused: a claim is for the authenticated pod, at its own IP. A refused
// claim leaves nothing in the ledger.
func TestClaimIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*ledger.Pod, *api.ClaimRequest)
		want   api.Code
	}{
		{"another pod's UID", func(_ *ledger.Pod, r *api.ClaimRequest) { r.PodUID = "uid-b" }, api.Forbidden},
		{"another pod's IP", func(_ *ledger.Pod, r *api.ClaimRequest) { r.PodIP = "10.0.0.2" }, api.Pending},
		{"an IP that the kubelet has not reported", func(p *ledger.Pod, _ *api.ClaimRequest) { p.IPs = nil }, api.Pending},
		{"a pod on the host network", func(p *ledger.Pod, _ *api.ClaimRequest) { p.HostNetwork = true }, api.Invalid},
		{"a pod with an IPv6 address", func(p *ledger.Pod, r *api.ClaimRequest) { p.IPs, r.PodIP = []string{"fd00::7"}, "fd00::7" }, api.Invalid},
		{"a pod that has ended", func(p *ledger.Pod, _ *api.ClaimRequest) { p.Terminal = true }, api.Forbidden},
		{"a later pod of the same name", func(p *ledger.Pod, _ *api.ClaimRequest) { p.UID = "uid-2" }, api.Forbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			pod := &ledger.Pod{UID: "uid-a", IPs: []string{"10.0.0.1"}}
			w.pods["a"], w.pods["b"] = pod, &ledger.Pod{UID: "uid-b", IPs: []string{"10.0.0.2"}}
			req := api.ClaimRequest{
				PodUID: "uid-a", PodIP: "10.0.0.1", Pool: "default",
				Ports: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}},
			}
			test.change(pod, &req)
			_, _, err := w.service.Claim(t.Context(), holderOf("a"), req)
			w.refused(err, test.want)
			if claims, ports := w.ledger.Claims.List(), w.ledger.Ports.List(); len(claims) > 0 || len(ports) > 0 {
				t.Errorf("left in the ledger: %v, %v", claims, ports)
			}
		})
	}
}

// TestCallerAddressCountsOnlyBeforeTheKubeletsReport: a pod that calls from another
// pod's IP, or claims another IP than it calls from, is granted nothing.
func TestCallerAddressCountsOnlyBeforeTheKubeletsReport(t *testing.T) {
	for _, test := range []struct {
		name, from, says string
		reported         []string
		granted          bool
	}{
		{"from the claimed IP, before the report", "10.0.0.1", "10.0.0.1", nil, true},
		{"from elsewhere, before the report", "10.0.0.9", "10.0.0.1", nil, false},
		{"from an unknown address, before the report", "", "10.0.0.1", nil, false},
		{"from the claimed IP, against the report", "10.0.0.9", "10.0.0.9", []string{"10.0.0.1"}, false},
		{"from elsewhere, as reported", "10.0.0.9", "10.0.0.1", []string{"10.0.0.1"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.pods["a"] = &ledger.Pod{UID: "uid-a", IPs: test.reported}
			h := holderOf("a")
			h.Address = test.from
			c, _, err := w.service.Claim(t.Context(), h, api.ClaimRequest{
				PodUID: "uid-a", PodIP: test.says, Pool: "default", Ports: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}},
			})
			if test.granted {
				if err != nil || c.PodIP != test.says {
					t.Errorf("it is granted %+v, %v", c, err)
				}
				return
			}
			w.refused(err, api.Pending)
			if claims := w.ledger.Claims.List(); len(claims) > 0 {
				t.Errorf("left in the ledger: %v", claims)
			}
		})
	}
}

// TestEarlierClaimIsLost: the claim lease was deleted and created again, with the same
// ports and fences. Calls that name the earlier claim change nothing.
func TestEarlierClaimIsLost(t *testing.T) {
	w := newWorld(t, 2)
	former := w.bind("a", "10.0.0.1")
	w.ledger.Claims.Recreate(ledger.ClaimName(former.PodUID), w.claimLease("a").Value)
	h, p := holderOf("a"), former.Ports[0]
	before := w.ledger.Claims.Writes() + w.ledger.Ports.Writes()
	other := strings.Replace(p.TargetGroupARN, "/000000000000", "/100000000000", 1)
	for name, call := range map[string]func(context.Context) error{
		"targetgroup": func(ctx context.Context) error {
			return w.service.TargetGroup(ctx, h, api.TargetGroupRequest{ClaimUID: former.UID, Fence: p.Fence, TargetGroupARN: other})
		},
		"bound": func(ctx context.Context) error {
			return w.service.Bound(ctx, h, api.BoundRequest{ClaimUID: former.UID, Fence: p.Fence, ListenerARN: p.ListenerARN})
		},
		"conflict": func(ctx context.Context) error {
			_, err := w.service.ReportCollision(ctx, h, api.CollisionRequest{ClaimUID: former.UID, Fence: p.Fence})
			return err
		},
		"release": func(ctx context.Context) error {
			_, err := w.service.Release(ctx, h, api.ReleaseRequest{ClaimUID: former.UID})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.refused(call(t.Context()), api.Lost)
		})
	}
	if err := w.service.Finish(t.Context(), h, former.UID, []string{p.Fence.Lease}); err != nil {
		t.Errorf("finish: %v", err)
	}
	if after := w.ledger.Claims.Writes() + w.ledger.Ports.Writes(); after != before {
		t.Errorf("%d writes", after-before)
	}
	w.keeps(former, ledger.Bound)
}

// TestLicenseIsOnlyForTheHoldingFence: a report of a holding that is over licenses no
// listener and leaves the record as it is.
func TestLicenseIsOnlyForTheHoldingFence(t *testing.T) {
	for _, test := range []struct {
		name   string
		fence  func(*api.Fence)
		change func(*ledger.Port)
	}{
		{"a generation that is not planned", func(f *api.Fence) { f.Generation++ }, func(p *ledger.Port) { p.Generation++ }},
		{"an epoch that is not planned", func(f *api.Fence) { f.Epoch = "x" }, func(p *ledger.Port) { p.Epoch = "x" }},
		{"the port has a later holder", nil, func(p *ledger.Port) { p.Holder, p.Generation = "claim-uid-b", p.Generation+1 }},
		{"the port has another holder of this generation", nil, func(p *ledger.Port) { p.Holder = "claim-uid-b" }},
		{"the port is being released", nil, func(p *ledger.Port) { p.State = ledger.Releasing }},
		{"the port cools down", nil, func(p *ledger.Port) { p.State, p.Holder = ledger.Cooldown, "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			c := w.bind("a", "10.0.0.1")
			f, p := c.Ports[0].Fence, c.Ports[0]
			before := w.ledger.Ports.Change(f.Lease, func(p *ledger.Port) {
				p.TargetGroupARN, p.ListenerARN = "", ""
				test.change(p)
			}).Value
			if test.fence != nil {
				test.fence(&f)
				p.TargetGroupARN = strings.Replace(p.TargetGroupARN, p.TargetGroupName, elb.TargetGroupName("l", f), 1)
			}
			req := api.TargetGroupRequest{ClaimUID: c.UID, Fence: f, TargetGroupARN: p.TargetGroupARN}
			w.refused(w.service.TargetGroup(t.Context(), holderOf("a"), req), api.Lost)
			if after := w.ledger.Ports.Value(f.Lease); after != before {
				t.Errorf("the port was %+v and is %+v", before, after)
			}
		})
	}
}

// TestCollisionIsInspected: the report of an agent alone neither blocks a port nor moves
// a claim.
func TestCollisionIsInspected(t *testing.T) {
	w := newWorld(t, 2)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	collide := func() api.ClaimedPort {
		t.Helper()
		answer, err := w.service.ReportCollision(t.Context(), holderOf("a"), api.CollisionRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence})
		if err != nil || len(answer.Ports) != 1 {
			t.Fatalf("answered %+v, %v", answer, err)
		}
		return answer.Ports[0]
	}
	if p := collide(); p.Fence != c.Ports[0].Fence {
		t.Errorf("it moved from %+v to %+v although no listener is there", c.Ports[0], p)
	}
	w.keeps(c, ledger.Claimed)
	w.cloud.foreign(c.Ports[0].ListenerPort)
	if p := collide(); p.ListenerPort == c.Ports[0].ListenerPort {
		t.Errorf("it stays on port %d, which has a foreign listener", p.ListenerPort)
	}
	if r := w.ledger.Ports.Value(c.Ports[0].Fence.Lease); r.State != ledger.Blocked || r.Foreign == "" {
		t.Errorf("the port with the foreign listener is %+v", r)
	}
}

// TestOccupiedPortIsNotGranted: the last listing showed a listener there, whatever the
// ledger says.
func TestOccupiedPortIsNotGranted(t *testing.T) {
	w := newWorld(t, 5)
	for n := range 4 {
		w.cloud.foreign(listenerPort + n)
	}
	c, err := w.claim("a", "10.0.0.1")
	if err != nil || c.Ports[0].ListenerPort != listenerPort+4 {
		t.Errorf("it is granted %+v, %v", c.Ports, err)
	}
	_, err = w.claim("b", "10.0.0.2")
	w.refused(err, api.Exhausted)
}

// rival takes a port while another claim is taking it.
type rival struct {
	*ledgermem.Table[ledger.Port]
	store *ledgermem.Store[ledger.Port]
	takes func(*ledger.Port)
	lease string // of the port that it took
}

func (r *rival) Update(ctx context.Context, p ledger.Record[ledger.Port]) (ledger.Record[ledger.Port], error) {
	if r.lease == "" {
		r.lease = p.Name
		r.store.Change(p.Name, r.takes)
	}
	return r.Table.Update(ctx, p)
}

// TestPortTakenByARivalIsNotTaken: a lost compare-and-swap is decided again, and the
// first decision is not written.
func TestPortTakenByARivalIsNotTaken(t *testing.T) {
	w := newWorld(t, 2)
	w.freePorts(2)
	r := &rival{Table: w.ports, store: w.ledger.Ports, takes: func(p *ledger.Port) {
		p.State, p.Holder, p.Generation = ledger.Claimed, "claim-uid-rival", p.Generation+1
	}}
	w.service.Ports = r
	c, err := w.claim("a", "10.0.0.1")
	if err != nil || c.Ports[0].Fence.Lease == r.lease {
		t.Errorf("it is granted %+v, %v", c.Ports, err)
	}
	if p := w.ledger.Ports.Value(r.lease); p.Holder != "claim-uid-rival" {
		t.Errorf("the rival's port is %+v", p)
	}
}

// TestPortIsFreedOnlyAfterAWSConfirms: a port is not free because its agent reports it
// as unbound.
func TestPortIsFreedOnlyAfterAWSConfirms(t *testing.T) {
	w := newWorld(t, 1)
	c := w.bind("a", "10.0.0.1")
	answer, err := w.service.Release(t.Context(), holderOf("a"), api.ReleaseRequest{ClaimUID: c.UID})
	if err != nil || !answer.Unbind {
		t.Fatalf("released with %+v, %v", answer, err)
	}
	lease := c.Ports[0].Fence.Lease
	if err := w.service.Finish(t.Context(), holderOf("a"), c.UID, []string{lease}); err != nil {
		t.Fatal(err)
	}
	if r := w.ledger.Ports.Value(lease); r.State != ledger.Releasing || r.Agent != ledger.AgentDone || r.TargetGroupARN != c.Ports[0].TargetGroupARN {
		t.Errorf("the port is %+v", r)
	}
	_, err = w.claim("b", "10.0.0.2")
	w.refused(err, api.Exhausted)
}
