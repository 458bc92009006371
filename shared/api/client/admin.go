package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/portlease/portlease/shared/api"
)

// The calls below are for admins. Their token is for api.AdminAudience, and its user needs
// rights on leases in the allocator's namespace. Pod tokens are refused.

// Pools returns all pools as one replica sees them now.
func (c *Client) Pools(ctx context.Context) (api.PoolList, error) {
	return call[api.PoolList](ctx, c, "reading the pools", http.MethodGet, c.address.JoinPath(api.PathPools), nil)
}

// Ports returns every listener port that was ever claimed or blocked.
func (c *Client) Ports(ctx context.Context) (api.PortList, error) {
	return call[api.PortList](ctx, c, "reading the ports", http.MethodGet, c.address.JoinPath(api.PathPorts), nil)
}

// Port returns one listener port. It fails with ErrNotFound.
func (c *Client) Port(ctx context.Context, loadBalancerID string, port int) (api.PortView, error) {
	return call[api.PortView](ctx, c, "reading the port", http.MethodGet, portURL(c, loadBalancerID, port, ""), nil)
}

// ClaimOf returns the claim of one pod. It fails with ErrNotFound.
func (c *Client) ClaimOf(ctx context.Context, namespace, pod string) (api.Claim, error) {
	return call[api.Claim](ctx, c, "reading the claim", http.MethodGet, claimURL(c, namespace, pod, ""), nil)
}

// Block blocks a port: no new claim gets it. A holder keeps it until its release. Block
// fails with ErrNotFound.
func (c *Client) Block(ctx context.Context, loadBalancerID string, port int, reason string) (api.PortView, error) {
	return call[api.PortView](ctx, c, "blocking the port", http.MethodPost, portURL(c, loadBalancerID, port, api.CallBlock), api.ReasonRequest{Reason: reason})
}

// Unblock undoes Block. It fails with ErrNotFound.
func (c *Client) Unblock(ctx context.Context, loadBalancerID string, port int) (api.PortView, error) {
	return call[api.PortView](ctx, c, "unblocking the port", http.MethodPost, portURL(c, loadBalancerID, port, api.CallUnblock), nil)
}

// Cordon keeps new claims off a load balancer; holders keep their ports. It fails with
// ErrNotFound.
func (c *Client) Cordon(ctx context.Context, loadBalancerID, reason string) (api.LoadBalancerView, error) {
	return call[api.LoadBalancerView](ctx, c, "cordoning the load balancer", http.MethodPost, loadBalancerURL(c, loadBalancerID, api.CallCordon), api.ReasonRequest{Reason: reason})
}

// Uncordon undoes Cordon. It fails with ErrNotFound.
func (c *Client) Uncordon(ctx context.Context, loadBalancerID string) (api.LoadBalancerView, error) {
	return call[api.LoadBalancerView](ctx, c, "uncordoning the load balancer", http.MethodPost, loadBalancerURL(c, loadBalancerID, api.CallUncordon), nil)
}

func portURL(c *Client, loadBalancerID string, port int, suffix string) *url.URL {
	return c.address.JoinPath(api.PortPath(url.PathEscape(loadBalancerID), port) + suffix)
}

func loadBalancerURL(c *Client, loadBalancerID, suffix string) *url.URL {
	return c.address.JoinPath(api.LoadBalancerPath(url.PathEscape(loadBalancerID)) + suffix)
}
