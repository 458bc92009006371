package app

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// NoKube in place of the API server's URL makes the agent write nothing on its pod.
const NoKube = "none"

// SystemCA in place of a file of certificates means those that the system trusts.
const SystemCA = "system"

// identity is where the pod's volume portlease-identity is mounted: tokens and
// certificates for the allocator and for the API server. The agent does not use
// what Kubernetes mounts by itself for the API server, so that a pod can go without
// it and the game gets no token.
const identity = "/var/run/secrets/portlease/"

// inCluster is the API server's URL as every container is told it; empty outside of
// a cluster.
func inCluster(getenv func(string) string) string {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return ""
	}
	return "https://" + net.JoinHostPort(host, port)
}

// Config is everything that the agent can be told. Region and credentials come
// from the AWS SDK's own environment.
type Config struct {
	AllocatorURL string
	// AllocatorCA is a file, or empty for what the system trusts.
	AllocatorCA string
	TokenFile   string
	// Kube is the way to the API server; its URL may be NoKube.
	Kube ownpod.API
	Pod  lifecycle.Pod
	Pool string
	// Ports are those of the setting ports, read.
	Ports []api.Port
	Dir   string
	// HTTPAddress serves probes and metrics, and answers the load balancer's
	// health checks of ports that speak UDP only.
	HTTPAddress string
	// LocalAddress is what the game server and the preStop hook talk to.
	LocalAddress string
	// Health is what the answer to the load balancer's health check depends on.
	Health         Health
	Drain          time.Duration
	Deregister     time.Duration
	ReleaseTimeout time.Duration
	LogLevel       string
}

// Parse reads flags and environment. It returns daemon.ErrHelp after printing
// the help to out; any other error names the setting, its value and the remedy.
func Parse(args []string, getenv func(string) string, out io.Writer) (Config, error) {
	var c Config
	var ports, health string
	s := daemon.NewSettings("portlease-agent", "Gives the pod it runs in a public port on a shared network load balancer, for as long as the pod lives.", getenv)
	s.String(&c.AllocatorURL, "allocator", "PORTLEASE_ALLOCATOR", "https://portlease-allocator.portlease.svc", "URL of the allocator")
	s.String(&c.AllocatorCA, "allocator-ca", "PORTLEASE_ALLOCATOR_CA", identity+"ca.crt", "file of the certificates (PEM) to trust the allocator by; "+SystemCA+" for those of the system")
	s.String(&c.TokenFile, "token-file", "PORTLEASE_TOKEN_FILE", identity+"token", "file of the pod's projected token for audience "+api.Audience)
	s.String(&c.Kube.URL, "kube", "PORTLEASE_KUBE", inCluster(getenv), "URL of the API server, to write on the own pod; the cluster's own when empty; "+NoKube+" writes nothing on the pod")
	s.String(&c.Kube.CAFile, "kube-ca", "PORTLEASE_KUBE_CA", identity+"kube-ca.crt", "file of the certificates (PEM) to trust the API server by")
	s.String(&c.Kube.TokenFile, "kube-token-file", "PORTLEASE_KUBE_TOKEN_FILE", identity+"kube-token", "file of the pod's token for the API server")
	s.String(&c.Pod.Namespace, "namespace", "PORTLEASE_NAMESPACE", "", "namespace of the pod, from metadata.namespace")
	s.String(&c.Pod.Name, "pod", "PORTLEASE_POD", "", "name of the pod, from metadata.name")
	s.String(&c.Pod.UID, "pod-uid", "PORTLEASE_POD_UID", "", "UID of the pod, from metadata.uid")
	s.String(&c.Pod.IP, "pod-ip", "PORTLEASE_POD_IP", "", "address of the pod, from status.podIP")
	s.String(&c.Pool, "pool", "PORTLEASE_POOL", "default", "pool to claim from")
	s.String(&ports, "ports", "PORTLEASE_PORTS", "", "ports of the pod to make public, as in game=7777/UDP,chat=8080/TCP")
	s.String(&c.Dir, "dir", "PORTLEASE_DIR", "/portlease", "folder, shared with the game server, to write the endpoint to")
	s.String(&c.HTTPAddress, "http-address", "PORTLEASE_HTTP_ADDRESS", ":9901", "address for probes, metrics and the load balancer's health checks")
	s.String(&c.LocalAddress, localFlag, localVariable, localDefault, "address for the game server and the preStop hook to talk to; nobody outside of the pod should reach it")
	s.String(&health, "health", "PORTLEASE_HEALTH", "agent", "what the load balancer's health checks depend on: agent (what the game says by POST /v1/ready and /v1/notready, if anything), tcp:PORT or http:PORT/PATH of the game")
	s.Duration(&c.Drain, "drain", "PORTLEASE_DRAIN", time.Hour, "how long at most the port is kept after SIGTERM while the game still listens; less if the pod's grace period ends before; a second SIGTERM ends it")
	s.Duration(&c.Deregister, "deregister", "PORTLEASE_DEREGISTER", 0, "deregister the pod before its listeners are deleted, and give flows this long; less if the pod's grace period ends before; 0: delete at once")
	s.Duration(&c.ReleaseTimeout, "release-timeout", "PORTLEASE_RELEASE_TIMEOUT", 25*time.Second, "how long giving back may take, not counting deregister")
	s.String(&c.LogLevel, "log-level", "PORTLEASE_LOG_LEVEL", "info", "debug, info, warn or error")

	s.Check("allocator", func() error {
		if !isURL(c.AllocatorURL) {
			return errors.New("give a URL, as in https://portlease-allocator.portlease.svc")
		}
		return nil
	})
	s.Check("kube", func() error {
		if c.Kube.URL != NoKube && !isURL(c.Kube.URL) {
			return errors.New("there is no cluster around: give a URL, as in https://10.0.0.1:443, or " + NoKube + " to write nothing on the pod")
		}
		return nil
	})
	for _, one := range []struct {
		flag   string
		value  *string
		source string
	}{
		{"namespace", &c.Pod.Namespace, "metadata.namespace"},
		{"pod", &c.Pod.Name, "metadata.name"},
		{"pod-uid", &c.Pod.UID, "metadata.uid"},
	} {
		s.Check(one.flag, notEmpty(one.value, "set it from the field "+one.source+" by the downward API"))
	}
	s.Check("pod-ip", func() error {
		if net.ParseIP(c.Pod.IP) == nil {
			return errors.New("set it from the field status.podIP by the downward API")
		}
		return nil
	})
	s.Check("pool", notEmpty(&c.Pool, "name a pool of the allocator"))
	s.Check("ports", func() (err error) {
		c.Ports, err = api.ParsePorts(ports)
		return err
	})
	s.Check("dir", func() error {
		stat, err := os.Stat(c.Dir)
		if err != nil || !stat.IsDir() {
			return errors.New("it is no folder: mount a volume there that the game server mounts too")
		}
		return nil
	})
	s.Check("http-address", func() error {
		if _, _, err := net.SplitHostPort(c.HTTPAddress); err != nil {
			return errors.New("give host:port or :port, as in :9901")
		}
		return nil
	})
	s.Check(localFlag, func() error {
		if _, _, err := net.SplitHostPort(c.LocalAddress); err != nil {
			return errors.New("give host:port, as in " + localDefault)
		}
		return nil
	})
	s.Check("health", func() (err error) {
		c.Health, err = parseHealth(health)
		return err
	})
	s.Check("release-timeout", func() error {
		if c.ReleaseTimeout <= 0 {
			return errors.New("it must be more than 0")
		}
		return nil
	})
	s.Check("log-level", func() error {
		_, err := daemon.NewLogger(io.Discard, c.LogLevel)
		return err
	})
	err := s.Parse(args, out)
	if c.AllocatorCA == SystemCA {
		c.AllocatorCA = ""
	}
	return c, err
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

func notEmpty(value *string, remedy string) func() error {
	return func() error {
		if *value == "" {
			return errors.New(remedy)
		}
		return nil
	}
}
