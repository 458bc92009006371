package app

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// NoKube in place of the API server's URL: the agent writes nothing on its pod.
const NoKube = "none"

// SystemCA in place of a certificate file: trust the CAs of the system.
const SystemCA = "system"

// identity is the mount path of the pod's volume portlease-identity: tokens and
// certificates for the allocator and for the API server. The agent does not use
// the token that Kubernetes mounts by default, so that a pod can disable that mount
// and the game gets no token.
const identity = "/var/run/secrets/portlease/"

// inCluster returns the API server's URL from the environment that Kubernetes gives
// every container; empty outside of a cluster.
func inCluster(getenv func(string) string) string {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return ""
	}
	return "https://" + net.JoinHostPort(host, port)
}

// Config has all settings of the agent. Region and credentials come from the AWS
// SDK's own environment.
type Config struct {
	AllocatorURL string
	// AllocatorCA is a file; empty trusts the CAs of the system.
	AllocatorCA string
	TokenFile   string
	// Kube is how to reach the API server; its URL may be NoKube.
	Kube ownpod.API
	Pod  pod.Identity
	Pool string
	// Ports is the parsed setting ports.
	Ports []api.Port
	Dir   string
	// HTTPAddress serves probes and metrics, and the load balancer's health checks of
	// UDP ports.
	HTTPAddress string
	// LocalAddress serves the game server and the preStop hook.
	LocalAddress string
	// Health is how the agent finds out whether the game runs.
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
	s := daemon.NewSettings("portlease-agent", "Gives the pod it runs in a public port on a shared network load balancer, for as long as the pod lives.", getenv)
	c.declareAllocator(s)
	c.declareKube(s, getenv)
	c.declarePod(s)
	c.declarePorts(s)
	c.declareGame(s)
	c.declareStopping(s)
	c.declareLog(s)
	err := s.Parse(args, out)
	if c.AllocatorCA == SystemCA {
		c.AllocatorCA = ""
	}
	return c, err
}

func (c *Config) declareAllocator(s *daemon.Settings) {
	s.String(&c.AllocatorURL, "allocator", "PORTLEASE_ALLOCATOR", "https://portlease-allocator.portlease.svc", "URL of the allocator")
	s.Check("allocator", func() error {
		if !isURL(c.AllocatorURL) {
			return errors.New("give a URL, as in https://portlease-allocator.portlease.svc")
		}
		return nil
	})
	s.String(&c.AllocatorCA, "allocator-ca", "PORTLEASE_ALLOCATOR_CA", identity+"ca.crt", "file with the CA certificates (PEM) of the allocator; "+SystemCA+" trusts the CAs of the system")
	s.String(&c.TokenFile, "token-file", "PORTLEASE_TOKEN_FILE", identity+"token", "file with the pod's projected service account token for audience "+api.Audience)
}

func (c *Config) declareKube(s *daemon.Settings, getenv func(string) string) {
	s.String(&c.Kube.URL, "kube", "PORTLEASE_KUBE", inCluster(getenv), "URL of the API server, to annotate the pod; empty uses the cluster's own; "+NoKube+" writes nothing on the pod")
	s.Check("kube", func() error {
		if c.Kube.URL != NoKube && !isURL(c.Kube.URL) {
			return errors.New("the agent runs outside of a cluster: give a URL, as in https://10.0.0.1:443, or " + NoKube + " to write nothing on the pod")
		}
		return nil
	})
	s.String(&c.Kube.CAFile, "kube-ca", "PORTLEASE_KUBE_CA", identity+"kube-ca.crt", "file with the CA certificates (PEM) of the API server")
	s.String(&c.Kube.TokenFile, "kube-token-file", "PORTLEASE_KUBE_TOKEN_FILE", identity+"kube-token", "file with the pod's service account token for the API server")
}

func (c *Config) declarePod(s *daemon.Settings) {
	for _, one := range []struct {
		value                        *string
		flag, env, meaning, fieldRef string
	}{
		{&c.Pod.Namespace, "namespace", "PORTLEASE_NAMESPACE", "namespace of the pod", "metadata.namespace"},
		{&c.Pod.Name, "pod", "PORTLEASE_POD", "name of the pod", "metadata.name"},
		{&c.Pod.UID, "pod-uid", "PORTLEASE_POD_UID", "UID of the pod", "metadata.uid"},
	} {
		s.String(one.value, one.flag, one.env, "", one.meaning+", from "+one.fieldRef)
		s.Check(one.flag, notEmpty(one.value, fromField(one.fieldRef)))
	}
	s.String(&c.Pod.IP, "pod-ip", "PORTLEASE_POD_IP", "", "IP address of the pod, from status.podIP")
	s.Check("pod-ip", func() error {
		ip := net.ParseIP(c.Pod.IP)
		switch {
		case ip == nil:
			return errors.New(fromField("status.podIP"))
		case ip.To4() == nil:
			return errors.New("portlease does not support IPv6 yet: its listeners forward to IPv4 addresses only. Run the pod in a cluster whose pods have IPv4 addresses")
		}
		return nil
	})
}

func (c *Config) declarePorts(s *daemon.Settings) {
	s.String(&c.Pool, "pool", "PORTLEASE_POOL", "default", "pool to claim from")
	s.Check("pool", notEmpty(&c.Pool, "name a pool of the allocator"))
	var ports string
	s.String(&ports, "ports", "PORTLEASE_PORTS", "", "ports of the pod to make public, as in game=7777/UDP,chat=8080/TCP")
	s.Check("ports", func() (err error) {
		c.Ports, err = api.ParsePorts(ports)
		return err
	})
}

// declareGame declares where the agent meets the game server and the probes.
func (c *Config) declareGame(s *daemon.Settings) {
	s.String(&c.Dir, "dir", "PORTLEASE_DIR", "/portlease", "folder to write the endpoint to; shared with the game server")
	s.Check("dir", func() error {
		stat, err := os.Stat(c.Dir)
		if err != nil || !stat.IsDir() {
			return errors.New("not a folder: mount a volume there that the game server mounts too")
		}
		return nil
	})
	s.String(&c.HTTPAddress, "http-address", "PORTLEASE_HTTP_ADDRESS", ":9901", "address for probes, metrics and the load balancer's health checks")
	s.Check("http-address", address(&c.HTTPAddress, "give host:port or :port, as in :9901"))
	declareLocalAddress(s, &c.LocalAddress, "address for the game server and the preStop hook; keep it unreachable from outside the pod")
	var health string
	s.String(&health, "health", "PORTLEASE_HEALTH", healthAgent, "how to find out whether the game runs: agent (a process listens on every port), tcp:PORT or http:PORT/PATH of the game, or signals (only the game's POST /v1/ready and /v1/notready)")
	s.Check("health", func() (err error) {
		c.Health, err = parseHealth(health)
		return err
	})
}

func (c *Config) declareStopping(s *daemon.Settings) {
	s.Duration(&c.Drain, "drain", "PORTLEASE_DRAIN", time.Hour, "longest time to keep the port after SIGTERM while the game still listens; the pod's grace period and a second SIGTERM cut it short")
	s.Duration(&c.Deregister, "deregister", "PORTLEASE_DEREGISTER", 0, "deregister the pod's targets this long before deleting the listeners; the pod's grace period cuts it short; 0 deletes at once")
	s.Duration(&c.ReleaseTimeout, "release-timeout", "PORTLEASE_RELEASE_TIMEOUT", 25*time.Second, "longest time for a release, not counting deregister")
	s.Check("release-timeout", func() error {
		if c.ReleaseTimeout <= 0 {
			return errors.New("it must be more than 0")
		}
		return nil
	})
}

func (c *Config) declareLog(s *daemon.Settings) {
	s.String(&c.LogLevel, "log-level", "PORTLEASE_LOG_LEVEL", "info", "debug, info, warn or error")
	s.Check("log-level", func() error {
		_, err := daemon.NewLogger(io.Discard, c.LogLevel)
		return err
	})
}

// declareLocalAddress declares the one setting that the agent and its preStop
// command share.
func declareLocalAddress(s *daemon.Settings, target *string, meaning string) {
	s.String(target, localFlag, localVariable, localDefault, meaning)
	s.Check(localFlag, address(target, "give host:port, as in "+localDefault))
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

func address(value *string, remedy string) func() error {
	return func() error {
		if _, _, err := net.SplitHostPort(*value); err != nil {
			return errors.New(remedy)
		}
		return nil
	}
}

func fromField(field string) string {
	return "set it from the field " + field + " by the downward API"
}
