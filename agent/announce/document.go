package announce

import (
	"errors"
	"net"
	"strconv"

	"github.com/portlease/portlease/shared/api"
)

// Version is the version of Document. Within a version fields may be added, and none is
// removed or changes its meaning.
const Version = 1

// Document has everything about the endpoint, for programs. The file claim.json, the
// pod's annotation and the answer of PathEndpoint are the same document.
type Document struct {
	Version   int    `json:"version"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	Pool      string `json:"pool"`
	// Endpoint is host:port of the first port.
	Endpoint string `json:"endpoint"`
	// Host is what players dial.
	Host string `json:"host"`
	// Addresses are the Elastic IPs of Host, if it has any.
	Addresses       []string `json:"addresses,omitempty"`
	LoadBalancerARN string   `json:"loadBalancerARN"`
	Ports           []Port   `json:"ports"`
}

// Port is one public port of the pod.
type Port struct {
	Name     string       `json:"name"`
	Protocol api.Protocol `json:"protocol"`
	// TargetPort is the port in the pod.
	TargetPort int `json:"targetPort"`
	// ListenerPort is the port on the load balancer.
	ListenerPort int `json:"listenerPort"`
	// Endpoint is what players dial: host:listenerPort.
	Endpoint       string `json:"endpoint"`
	TargetGroupARN string `json:"targetGroupARN"`
	ListenerARN    string `json:"listenerARN"`
}

// Describe returns the document of a claim, which must have ports.
func Describe(c api.Claim) (Document, error) {
	if len(c.Ports) == 0 {
		return Document{}, errors.New("the claim has no ports")
	}
	d := Document{
		Version: Version, Namespace: c.Namespace, Pod: c.Pod, PodUID: c.PodUID, Pool: c.Pool,
		Host: c.LoadBalancer.Host, Addresses: c.LoadBalancer.Addresses, LoadBalancerARN: c.LoadBalancer.ARN,
	}
	for _, p := range c.Ports {
		d.Ports = append(d.Ports, Port{
			Name: p.Name, Protocol: p.Protocol, TargetPort: p.TargetPort, ListenerPort: p.ListenerPort,
			Endpoint:       net.JoinHostPort(d.Host, strconv.Itoa(p.ListenerPort)),
			TargetGroupARN: p.TargetGroupARN, ListenerARN: p.ListenerARN,
		})
	}
	d.Endpoint = d.Ports[0].Endpoint
	return d, nil
}
