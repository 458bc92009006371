package app

import (
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// program is the user agent of the main client, and the beginning of the others'.
const program = "portlease-allocator"

// clients call the API server. Each has a rate limiter and a connection of its own, so
// that no flood of one kind of request delays another.
type clients struct {
	// main reads and writes the ledger, pods and certificates.
	main kubernetes.Interface
	// reviews asks about the tokens and rights of callers, who may be hostile.
	reviews kubernetes.Interface
	// election keeps the leader: if it was late, no replica would lead.
	election kubernetes.Interface
	// probes sees whether the API server answers.
	probes kubernetes.Interface
}

// clients makes all clients.
func (d *Doors) clients() (c clients, err error) {
	for _, one := range []struct {
		client *kubernetes.Interface
		name   string
		limit  kubeLimit
	}{
		{&c.main, program, mainLimit},
		{&c.reviews, program + "-reviews", mainLimit},
		{&c.election, program + "-election", smallLimit},
		{&c.probes, program + "-probes", smallLimit},
	} {
		if *one.client, err = d.client(one.name, one.limit); err != nil {
			return c, err
		}
	}
	return c, nil
}

// kubeLimit is how many requests a client sends to the API server.
type kubeLimit struct {
	perSecond float32
	burst     int
}

var (
	// mainLimit lets a fleet claim at once. client-go's defaults are for controllers
	// with one worker.
	mainLimit = kubeLimit{500, 1000}
	// smallLimit is several times what the election and the probes need.
	smallLimit = kubeLimit{5, 10}
)

// client makes one client.
func (d *Doors) client(name string, limit kubeLimit) (kubernetes.Interface, error) {
	c := rest.AddUserAgent(rest.CopyConfig(d.Kube), name)
	c.QPS, c.Burst = limit.perSecond, limit.burst
	// Each renewal writes a Lease. Protobuf costs a fraction of JSON
	// (https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding).
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.DisableCompression = true // the API server is near
	if c.Dial == nil {
		// client-go shares connections between clients, except those that dial themselves.
		c.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	kube, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("making the Kubernetes client: %w", err)
	}
	return kube, nil
}

func (d *Doors) openKube(c Config) error {
	if d.Kube != nil {
		return nil
	}
	found, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("finding the Kubernetes API (set kubeconfig outside a cluster): %w", err)
	}
	d.Kube = found
	return nil
}
