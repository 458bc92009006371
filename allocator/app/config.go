package app

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/shared/daemon"
)

// Config has all settings of the allocator. Region and credentials come from the AWS
// SDK's own environment.
type Config struct {
	Listen    string
	TLSCert   string
	TLSKey    string
	TLSCA     string
	TLSSecret string
	// TLSNames are DNS names and addresses, comma-separated.
	TLSNames string
	// TrustNamespaces have callers, comma-separated.
	TrustNamespaces string
	PlainHTTP       bool

	PoolFile   string
	Namespace  string
	Identity   string
	Kubeconfig string

	// ClaimDuration is how long a claim lasts without a renewal.
	ClaimDuration time.Duration
	RenewEvery    time.Duration
	AgentGrace    time.Duration
	// TargetGroupLag is for how long AWS may not know a new target group.
	TargetGroupLag time.Duration
	// InUseWindow is for how long AWS reports a target group as in use after its listener
	// was deleted.
	InUseWindow time.Duration
	// Propagation is how long AWS usually takes until all of it knows what was created.
	Propagation time.Duration
	SweepEvery  time.Duration
	AuditEvery  time.Duration
	// DryRun makes the janitor log what it would do, and do nothing.
	DryRun bool

	// MaxConnections is how many connections callers may hold together.
	MaxConnections int
	// MemoryLimit is that of the container, in bytes; 0 means none.
	MemoryLimit int

	LogLevel string
}

// Parse reads flags and environment. It returns daemon.ErrHelp after printing
// the help.
func Parse(args []string, getenv func(string) string, out io.Writer) (Config, error) {
	var c Config
	s := daemon.NewSettings("portlease-allocator", "Gives game-server pods listener ports on shared network load balancers, and reclaims the ports of crashed pods.\n\"allocator check\", with the same settings, only checks that it could work here, and prints a table of the results.", getenv)
	s.String(&c.Listen, "listen", "PORTLEASE_LISTEN", ":8443", "address to serve the API, probes and metrics on")
	s.String(&c.TLSCert, "tls-cert", "PORTLEASE_TLS_CERT", "", "certificate file (PEM); reloaded when it changes")
	s.String(&c.TLSKey, "tls-key", "PORTLEASE_TLS_KEY", "", "key file (PEM) of the certificate")
	s.String(&c.TLSCA, "tls-ca", "PORTLEASE_TLS_CA", "", "file with the CA certificates (PEM) of tls-cert, for trust-namespaces; reloaded when it changes")
	s.String(&c.TLSSecret, "tls-secret", "PORTLEASE_TLS_SECRET", "", "instead of tls-cert: the Secret, in the allocator's namespace, where the replicas renew a certificate and its CA themselves")
	s.String(&c.TLSNames, "tls-names", "PORTLEASE_TLS_NAMES", "", "comma-separated DNS names and addresses of the certificate in tls-secret; empty means those of Service portlease-allocator")
	s.String(&c.TrustNamespaces, "trust-namespaces", "PORTLEASE_TRUST_NAMESPACES", "", "comma-separated namespaces with agents; each gets ConfigMap "+kubecerts.ConfigMap+" with the CA certificates of the allocator")
	s.Bool(&c.PlainHTTP, "plain-http", "PORTLEASE_PLAIN_HTTP", false, "serve without TLS; tokens travel in the clear")
	s.String(&c.PoolFile, "pools", "PORTLEASE_POOLS", "/etc/portlease/pools.yaml", "file that names the pools")
	s.String(&c.Namespace, "namespace", "PORTLEASE_NAMESPACE", "portlease", "namespace of the ledger's Leases")
	s.String(&c.Identity, "identity", "PORTLEASE_IDENTITY", "", "name of this replica, such as its pod name; empty means the host name")
	s.String(&c.Kubeconfig, "kubeconfig", "KUBECONFIG", "", "kubeconfig file; empty means the cluster it runs in")
	s.Duration(&c.ClaimDuration, "claim-duration", "PORTLEASE_CLAIM_DURATION", 2*time.Minute, "how long a claim lasts without a renewal, in whole seconds")
	s.Duration(&c.RenewEvery, "renew-every", "PORTLEASE_RENEW_EVERY", 30*time.Second, "how often agents renew; at most a third of claim-duration")
	s.Duration(&c.AgentGrace, "agent-grace", "PORTLEASE_AGENT_GRACE", 30*time.Second, "how long a stopping agent may take to unbind before the janitor does")
	s.Duration(&c.TargetGroupLag, "target-group-lag", "PORTLEASE_TARGET_GROUP_LAG", time.Minute, "how long AWS may take until all of it knows a new target group; a port is not freed before its target group is that old")
	s.Duration(&c.InUseWindow, "in-use-window", "PORTLEASE_IN_USE_WINDOW", 20*time.Second, "for how long AWS reports a target group as in use after its listener was deleted; janitor and agents wait that long between the two deletions")
	s.Duration(&c.Propagation, "propagation", "PORTLEASE_PROPAGATION", 2*time.Second, "how long AWS usually takes until all of it knows a new target group or listener; agents wait that long before they use one")
	s.Duration(&c.SweepEvery, "sweep-every", "PORTLEASE_SWEEP_EVERY", 2*time.Second, "how often the janitor sweeps the ledger")
	s.Duration(&c.AuditEvery, "audit-every", "PORTLEASE_AUDIT_EVERY", 30*time.Second, "how often the janitor compares AWS with the ledger")
	s.Bool(&c.DryRun, "dry-run", "PORTLEASE_DRY_RUN", false, "the janitor only logs what it would reclaim and delete; released ports stay taken")
	s.Int(&c.MaxConnections, "max-connections", "PORTLEASE_MAX_CONNECTIONS", 4096, "how many connections callers may hold together; more displace idle ones of the address that holds the most")
	s.Int(&c.MemoryLimit, "memory-limit", "PORTLEASE_MEMORY_LIMIT", 0, "the container's memory limit in bytes, of which Go may use nine tenths, unless GOMEMLIMIT is set; 0 means none")
	s.String(&c.LogLevel, "log-level", "PORTLEASE_LOG_LEVEL", "info", "debug, info, warn or error")
	s.Check("listen", c.validateTLS)
	s.Check("trust-namespaces", func() error {
		if c.TrustNamespaces != "" && c.TLSCA == "" && c.TLSSecret == "" {
			return fmt.Errorf("it needs tls-ca or tls-secret: without one there are no CA certificates to publish")
		}
		return nil
	})
	s.Check("claim-duration", func() error {
		if c.ClaimDuration < time.Second || c.ClaimDuration > 24*time.Hour || c.ClaimDuration%time.Second != 0 {
			return fmt.Errorf("give whole seconds from 1s to 24h")
		}
		return nil
	})
	s.Check("renew-every", func() error {
		if c.RenewEvery <= 0 || c.RenewEvery > c.ClaimDuration/3 {
			return fmt.Errorf("it must be more than 0 and at most a third of claim-duration %v", c.ClaimDuration)
		}
		return nil
	})
	for _, every := range []struct {
		flag  string
		value *time.Duration
	}{{"sweep-every", &c.SweepEvery}, {"audit-every", &c.AuditEvery}} {
		s.Check(every.flag, func() error {
			if *every.value <= 0 {
				return fmt.Errorf("it must be more than 0")
			}
			return nil
		})
	}
	s.Check("max-connections", func() error {
		if c.MaxConnections < 1 {
			return fmt.Errorf("it must be more than 0")
		}
		return nil
	})
	s.Check("log-level", func() error {
		_, err := daemon.NewLogger(io.Discard, c.LogLevel)
		return err
	})
	if err := s.Parse(args, out); err != nil {
		return c, err
	}
	if c.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("identity is empty and the host has no name: %w", err)
		}
		c.Identity = host
	}
	return c, nil
}

func (c *Config) validateTLS() error {
	files := c.TLSCert != "" || c.TLSKey != ""
	switch {
	case c.PlainHTTP && (files || c.TLSSecret != ""):
		return fmt.Errorf("plain-http contradicts tls-cert, tls-key and tls-secret: give one or the other")
	case c.TLSSecret != "" && (files || c.TLSCA != ""):
		return fmt.Errorf("tls-secret contradicts tls-cert, tls-key and tls-ca: give one or the other")
	case !c.PlainHTTP && c.TLSSecret == "" && (c.TLSCert == "" || c.TLSKey == ""):
		return fmt.Errorf("serving needs tls-cert and tls-key, or tls-secret, or plain-http in a trusted network")
	}
	return nil
}

// servingNames are the names of the serving certificate.
func (c *Config) servingNames() []string {
	if names := list(c.TLSNames); len(names) > 0 {
		return names
	}
	const service = "portlease-allocator"
	inside := service + "." + c.Namespace
	return []string{service, inside, inside + ".svc", inside + ".svc.cluster.local"}
}

// trustNamespaces are the namespaces that get the CA certificates, the allocator's own
// first, each once. There are none if the CA is not known.
func (c *Config) trustNamespaces() []string {
	if c.PlainHTTP || c.TLSSecret == "" && c.TLSCA == "" {
		return nil
	}
	return unique(append([]string{c.Namespace}, list(c.TrustNamespaces)...))
}

// games are the namespaces with agents, each once; none if they are not known.
func (c *Config) games() []string { return unique(list(c.TrustNamespaces)) }

// unique leaves out what was there before.
func unique(names []string) (once []string) {
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// list splits a comma-separated text.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
