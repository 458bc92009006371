package announce

import (
	"errors"
	"net"
	"strconv"

	"github.com/portlease/portlease/shared/api"
)

// Version is that of Document. Fields may come without a new version; none goes,
// and none changes its meaning.
const Version = 1

// Document is all that is handed over, for programs: the file claim.json, the
// pod's annotation and the answer of PathEndpoint are one and the same.
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
	// Addresses are the static IP addresses that Host stands for, if it has Elastic
	// IPs.
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

// Describe gives the document of a claim, which must have ports.
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
