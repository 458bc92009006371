package client_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/shared/api"
)

func TestAdminCallsAreSentAsDocumented(t *testing.T) {
	s := &script{}
	c := newClient(t, s)
	ctx := t.Context()
	port, lb := api.PortView{Lease: "lb-30000", State: "blocked"}, api.LoadBalancerView{ID: "lb", Cordoned: "by anna: old"}
	for _, test := range []struct {
		answer any
		call   func() (any, error)
		sent   string
	}{
		{api.PoolList{Pools: []api.PoolView{{Name: "default"}}}, func() (any, error) { return c.Pools(ctx) }, `GET /v1/pools`},
		{api.PortList{Ports: []api.PortView{port}}, func() (any, error) { return c.Ports(ctx) }, `GET /v1/ports`},
		{port, func() (any, error) { return c.Port(ctx, "lb", 30000) }, `GET /v1/ports/lb/30000`},
		{api.Claim{UID: "u"}, func() (any, error) { return c.ClaimOf(ctx, "games", "game-0") }, `GET /v1/pods/games/game-0/claim`},
		{port, func() (any, error) { return c.Block(ctx, "lb", 30000, "x & y") }, `POST /v1/ports/lb/30000/block {"reason":"x \u0026 y"}`},
		{port, func() (any, error) { return c.Unblock(ctx, "l/b", 30000) }, `POST /v1/ports/l%2Fb/30000/unblock`},
		{lb, func() (any, error) { return c.Cordon(ctx, "lb", "old") }, `POST /v1/loadbalancers/lb/cordon {"reason":"old"}`},
		{lb, func() (any, error) { return c.Uncordon(ctx, "lb") }, `POST /v1/loadbalancers/lb/uncordon`},
	} {
		s.steps, s.seen = []step{ok(test.answer)}, nil
		got, err := test.call()
		if err != nil {
			t.Errorf("%s: %v", test.sent, err)
		}
		if diff := cmp.Diff(test.answer, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.sent, diff)
		}
		if diff := cmp.Diff([]string{test.sent}, s.seen); diff != "" {
			t.Errorf("sent requests (-want +got):\n%s", diff)
		}
		s.steps = []step{refuse(api.NotFound, http.StatusNotFound)}
		if _, err := test.call(); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("%s: got %v", test.sent, err)
		}
	}
}
