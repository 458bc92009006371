package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/portlease/portlease/shared/api"
)

// The calls below are people's: their token is one of the API server itself, and
// needs rights on leases in the allocator's namespace. Pod tokens are refused.

// Pools gives all pools as one replica sees them now.
func (c *Client) Pools(ctx context.Context) (api.PoolList, error) {
	return call[api.PoolList](ctx, c, "reading the pools", http.MethodGet, c.address.JoinPath(api.PathPools), nil)
}

// Ports gives every listener port that has been claimed or blocked before.
func (c *Client) Ports(ctx context.Context) (api.PortList, error) {
	return call[api.PortList](ctx, c, "reading the ports", http.MethodGet, c.address.JoinPath(api.PathPorts), nil)
}

// Port gives one listener port. ErrNotFound.
func (c *Client) Port(ctx context.Context, loadBalancerID string, port int) (api.PortView, error) {
	return call[api.PortView](ctx, c, "reading the port", http.MethodGet, portURL(c, loadBalancerID, port, ""), nil)
}

// ClaimOf gives the claim of one pod. ErrNotFound.
func (c *Client) ClaimOf(ctx context.Context, namespace, pod string) (api.Claim, error) {
	return call[api.Claim](ctx, c, "reading the claim", http.MethodGet, claimURL(c, namespace, pod, ""), nil)
}

// Block closes a port: it is handed out to nobody from the moment its holder, if
// there is one, has given it back. ErrNotFound.
func (c *Client) Block(ctx context.Context, loadBalancerID string, port int, reason string) (api.PortView, error) {
	return call[api.PortView](ctx, c, "blocking the port", http.MethodPost, portURL(c, loadBalancerID, port, api.CallBlock), api.ReasonRequest{Reason: reason})
}

// Unblock ends Block. ErrNotFound.
func (c *Client) Unblock(ctx context.Context, loadBalancerID string, port int) (api.PortView, error) {
	return call[api.PortView](ctx, c, "unblocking the port", http.MethodPost, portURL(c, loadBalancerID, port, api.CallUnblock), nil)
}

// Cordon closes a load balancer to new claims; what is held on it stays.
// ErrNotFound.
func (c *Client) Cordon(ctx context.Context, loadBalancerID, reason string) (api.LoadBalancerView, error) {
	return call[api.LoadBalancerView](ctx, c, "cordoning the load balancer", http.MethodPost, loadBalancerURL(c, loadBalancerID, api.CallCordon), api.ReasonRequest{Reason: reason})
}

// Uncordon ends Cordon. ErrNotFound.
func (c *Client) Uncordon(ctx context.Context, loadBalancerID string) (api.LoadBalancerView, error) {
	return call[api.LoadBalancerView](ctx, c, "uncordoning the load balancer", http.MethodPost, loadBalancerURL(c, loadBalancerID, api.CallUncordon), nil)
}

func portURL(c *Client, loadBalancerID string, port int, suffix string) *url.URL {
	return c.address.JoinPath(api.PortPath(url.PathEscape(loadBalancerID), port) + suffix)
}

func loadBalancerURL(c *Client, loadBalancerID, suffix string) *url.URL {
	return c.address.JoinPath(api.LoadBalancerPath(url.PathEscape(loadBalancerID)) + suffix)
}
