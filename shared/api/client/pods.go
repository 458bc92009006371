package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/portlease/portlease/shared/api"
)

// Claim claims all ports of a pod on one load balancer. A repeated call returns the same
// claim in its present state. ErrExhausted, ErrReleasing and the code Pending are
// transient. ErrInvalid and ErrForbidden need a change by a human.
func (c *Client) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	return call[api.Claim](ctx, c, "claiming ports", http.MethodPut, claimURL(c, namespace, pod, ""), r)
}

// TargetGroup records a target group: the license to create its listener. It fails with
// ErrLost.
func (c *Client) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	_, err := call[nothing](ctx, c, "reporting a target group", http.MethodPost, claimURL(c, namespace, pod, api.CallTargetGroup), r)
	return err
}

// Bound reports a listener. It fails with ErrLost.
func (c *Client) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	_, err := call[nothing](ctx, c, "reporting a listener", http.MethodPost, claimURL(c, namespace, pod, api.CallBound), r)
	return err
}

// Renew renews a claim. It fails with ErrLost.
func (c *Client) Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error) {
	return call[api.RenewAnswer](ctx, c, "renewing the claim", http.MethodPost, claimURL(c, namespace, pod, api.CallRenew), r)
}

// ReportCollision reports that a foreign listener is on a port, and returns the claim to
// continue with. It fails with ErrLost or ErrExhausted.
func (c *Client) ReportCollision(ctx context.Context, namespace, pod string, r api.CollisionRequest) (api.Claim, error) {
	return call[api.Claim](ctx, c, "reporting a collision", http.MethodPost, claimURL(c, namespace, pod, api.CallCollision), r)
}

// Release begins to release a claim. The answer says whether the agent or the janitor
// unbinds.
func (c *Client) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	return call[api.ReleaseAnswer](ctx, c, "releasing the claim", http.MethodPost, claimURL(c, namespace, pod, api.CallRelease), r)
}

// Finish reports the port leases whose listeners and target groups are gone. It succeeds
// for a claim that is over.
func (c *Client) Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error {
	u := claimURL(c, namespace, pod, "")
	u.RawQuery = url.Values{api.QueryClaimUID: {claimUID}, api.QueryGone: gone}.Encode()
	_, err := call[nothing](ctx, c, "finishing the claim", http.MethodDelete, u, nil)
	return err
}

func claimURL(c *Client, namespace, pod, call string) *url.URL {
	return c.address.JoinPath(api.ClaimPath(url.PathEscape(namespace), url.PathEscape(pod)) + call)
}
