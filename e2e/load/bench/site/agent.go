package site

import (
	"net"
	"net/http"

	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
)

// Agent calls an allocator for one pod with the agent's own client, retries included. It
// has an address of its own and keeps its connection, as agents do.
type Agent struct {
	*client.Client
	*Pod
	transport *http.Transport
}

// NewAgent makes the agent of that number, for one replica. Different numbers have
// different addresses.
func (s *Site) NewAgent(number int, a *rig.Replica, p *Pod) (Agent, error) {
	transport := s.transport(number)
	calls, err := client.New(client.Config{URL: a.URL(), Transport: asPod{p, transport}})
	return Agent{calls, p, transport}, err
}

// Close closes the agent's connection.
func (a Agent) Close() { a.transport.CloseIdleConnections() }

// ClaimOf is the body of a pod's PUT.
func ClaimOf(p *Pod) api.ClaimRequest {
	return api.ClaimRequest{PodUID: p.UID, PodIP: p.IP, Pool: "default", Ports: Ports, HealthPort: HealthPort}
}

// RenewalOf is the body of a renewal by a pod that holds its ports.
func RenewalOf(h Held) api.RenewRequest {
	return api.RenewRequest{ClaimUID: h.Claim.UID, PodIP: h.IP, Pool: "default", Ports: h.Claim.Ports}
}

// transport makes a transport from the address of that number.
func (s *Site) transport(number int) *http.Transport {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(64+number>>16), byte(number>>8), byte(number))}}
	return &http.Transport{TLSClientConfig: s.ClientTLS(), MaxIdleConnsPerHost: 2, DialContext: from.DialContext}
}

// asPod adds the token of a pod.
type asPod struct {
	pod  *Pod
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a asPod) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+a.pod.Token)
	return a.next.RoundTrip(r)
}
