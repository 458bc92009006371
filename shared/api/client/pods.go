package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/portlease/portlease/shared/api"
)

// Claim claims all ports of a pod on one load balancer. Asked again it gives the
// same claim, wherever that stands. ErrExhausted and ErrReleasing pass with time,
// as does the code Pending; ErrInvalid and ErrForbidden need a person.
func (c *Client) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	return call[api.Claim](ctx, c, "claiming ports", http.MethodPut, claimURL(c, namespace, pod, ""), r)
}

// TargetGroup records a target group: the license to create its listener.
// ErrLost.
func (c *Client) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	_, err := call[nothing](ctx, c, "reporting a target group", http.MethodPost, claimURL(c, namespace, pod, api.CallTargetGroup), r)
	return err
}

// Bound reports a listener. ErrLost.
func (c *Client) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	_, err := call[nothing](ctx, c, "reporting a listener", http.MethodPost, claimURL(c, namespace, pod, api.CallBound), r)
	return err
}

// Renew prolongs a claim. ErrLost.
func (c *Client) Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error) {
	return call[api.RenewAnswer](ctx, c, "renewing the claim", http.MethodPost, claimURL(c, namespace, pod, api.CallRenew), r)
}

// Conflict says that somebody else's listener is on a port, and gives the claim
// to go on with. ErrLost, ErrExhausted.
func (c *Client) ReportCollision(ctx context.Context, namespace, pod string, r api.CollisionRequest) (api.Claim, error) {
	return call[api.Claim](ctx, c, "reporting a conflict", http.MethodPost, claimURL(c, namespace, pod, api.CallCollision), r)
}

// Release begins to release a claim and gives who unbinds what.
func (c *Client) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	return call[api.ReleaseAnswer](ctx, c, "releasing the claim", http.MethodPost, claimURL(c, namespace, pod, api.CallRelease), r)
}

// Finish says which port leases' listeners and target groups are gone. A claim
// that is over already is success.
func (c *Client) Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error {
	u := claimURL(c, namespace, pod, "")
	u.RawQuery = url.Values{api.QueryClaimUID: {claimUID}, api.QueryGone: gone}.Encode()
	_, err := call[nothing](ctx, c, "finishing the claim", http.MethodDelete, u, nil)
	return err
}

func claimURL(c *Client, namespace, pod, call string) *url.URL {
	return c.address.JoinPath(api.ClaimPath(url.PathEscape(namespace), url.PathEscape(pod)) + call)
}
