package claim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// TestRefusalsNameNoLoadBalancersAndNoAdmins: pods learn that load balancers take no new
// claims. Which ones, and why, is for admins.
func TestRefusalsNameNoLoadBalancersAndNoAdmins(t *testing.T) {
	for name, change := range map[string]func(*given){
		"exhausted": func(*given) {},
		"not read":  func(g *given) { g.pool.LoadBalancers, g.pool.Unread = nil, true },
	} {
		g := newGiven(t)
		g.pool.LoadBalancers[0].Cordoned = "cordoned by alice: scanned from 198.51.100.7"
		g.pool.LeftOut = []string{"arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/other/1 (AccessDenied: arn:aws:sts::123456789012:assumed-role/janitor)"}
		change(g)
		refusal := makePlan(g.situation).refusal
		if refusal == nil {
			t.Fatalf("%s: it was planned", name)
		}
		for _, internal := range []string{"arn:", lb1, "alice", "198.51.100.7", "AccessDenied"} {
			if strings.Contains(refusal.Error(), internal) {
				t.Errorf("%s: it tells %q: %v", name, internal, refusal)
			}
		}
	}
}

// TestPodOverItsRateLimitIsToldSo, also if AWS was to be asked for it.
func TestPodOverItsRateLimitIsToldSo(t *testing.T) {
	limited := api.Errorf(api.RateLimited, "too many describe calls").WithRetryAfter(7 * time.Second)
	for err, want := range map[error]*api.Problem{
		fmt.Errorf("listing: %w", limited):                         limited,
		errors.New("AWS does not answer"):                          api.Errorf(api.Unavailable, "").WithRetryAfter(retrySoon),
		fmt.Errorf("x: %w", api.Errorf(api.NotFound, "internals")): api.Errorf(api.Unavailable, "").WithRetryAfter(retrySoon),
	} {
		got, ok := errors.AsType[*api.Problem](unavailable(err))
		if !ok || got.Code != want.Code || got.RetryAfter != want.RetryAfter {
			t.Errorf("%v: got %v after %v, want %s", err, got, got.RetryAfter, want.Code)
		}
	}
}
