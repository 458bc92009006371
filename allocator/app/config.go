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

// Config is everything that the allocator can be told. Region and credentials
// come from the AWS SDK's own environment.
type Config struct {
	Listen    string
	TLSCert   string
	TLSKey    string
	TLSCA     string
	TLSSecret string
	// TLSNames are DNS names and addresses, with commas between.
	TLSNames string
	// TrustNamespaces have callers, with commas between.
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
	SweepEvery    time.Duration
	AuditEvery    time.Duration
	// DryRun has the janitor say what it would do, and do nothing.
	DryRun bool

	LogLevel string
}

// Parse reads flags and environment. It returns daemon.ErrHelp after printing
// the help.
func Parse(args []string, getenv func(string) string, out io.Writer) (Config, error) {
	var c Config
	s := daemon.NewSettings("portlease-allocator", "Gives game-server pods listener ports on shared network load balancers, and takes back what crashed pods leave behind.\nAs \"allocator check\", with the same settings, it only looks whether it could, and prints what it finds.", getenv)
	s.String(&c.Listen, "listen", "PORTLEASE_LISTEN", ":8443", "address to serve the API, probes and metrics on")
	s.String(&c.TLSCert, "tls-cert", "PORTLEASE_TLS_CERT", "", "certificate file (PEM); read again when it changes")
	s.String(&c.TLSKey, "tls-key", "PORTLEASE_TLS_KEY", "", "key file (PEM) of the certificate")
	s.String(&c.TLSCA, "tls-ca", "PORTLEASE_TLS_CA", "", "file of the certificates (PEM) that callers trust tls-cert by, for trust-namespaces; read again when it changes")
	s.String(&c.TLSSecret, "tls-secret", "PORTLEASE_TLS_SECRET", "", "in place of tls-cert: the Secret, in the allocator's namespace, where the replicas make and renew a certificate and its authority themselves")
	s.String(&c.TLSNames, "tls-names", "PORTLEASE_TLS_NAMES", "", "names and addresses of the certificate in tls-secret, with commas between; those of Service portlease-allocator when empty")
	s.String(&c.TrustNamespaces, "trust-namespaces", "PORTLEASE_TRUST_NAMESPACES", "", "namespaces with agents, with commas between; each is given ConfigMap "+kubecerts.ConfigMap+" with the certificates to trust the allocator by")
	s.Bool(&c.PlainHTTP, "plain-http", "PORTLEASE_PLAIN_HTTP", false, "serve without TLS; tokens then travel in the clear")
	s.String(&c.PoolFile, "pools", "PORTLEASE_POOLS", "/etc/portlease/pools.yaml", "file that names the pools")
	s.String(&c.Namespace, "namespace", "PORTLEASE_NAMESPACE", "portlease", "namespace of the ledger's Leases")
	s.String(&c.Identity, "identity", "PORTLEASE_IDENTITY", "", "name of this replica, its pod name say; the host name when empty")
	s.String(&c.Kubeconfig, "kubeconfig", "KUBECONFIG", "", "kubeconfig file; in-cluster when empty")
	s.Duration(&c.ClaimDuration, "claim-duration", "PORTLEASE_CLAIM_DURATION", 2*time.Minute, "how long a claim lasts without a renewal, in whole seconds")
	s.Duration(&c.RenewEvery, "renew-every", "PORTLEASE_RENEW_EVERY", 30*time.Second, "how often agents renew; at most a third of claim-duration")
	s.Duration(&c.AgentGrace, "agent-grace", "PORTLEASE_AGENT_GRACE", 30*time.Second, "how long a stopping agent may take to unbind before the janitor does")
	s.Duration(&c.SweepEvery, "sweep-every", "PORTLEASE_SWEEP_EVERY", 2*time.Second, "how often the janitor looks at the ledger")
	s.Duration(&c.AuditEvery, "audit-every", "PORTLEASE_AUDIT_EVERY", 30*time.Second, "how often load balancers are listed")
	s.Bool(&c.DryRun, "dry-run", "PORTLEASE_DRY_RUN", false, "the janitor only says what it would take back and delete; ports that pods give back then stay theirs")
	s.String(&c.LogLevel, "log-level", "PORTLEASE_LOG_LEVEL", "info", "debug, info, warn or error")
	s.Check("listen", c.validateTLS)
	s.Check("trust-namespaces", func() error {
		if c.TrustNamespaces != "" && c.TLSCA == "" && c.TLSSecret == "" {
			return fmt.Errorf("it needs tls-ca, or tls-secret: there is nothing to trust")
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
		return fmt.Errorf("serving needs tls-cert and tls-key, or tls-secret, or plain-http where nobody can listen in")
	}
	return nil
}

// servingNames are what callers may call the allocator.
func (c *Config) servingNames() []string {
	if names := list(c.TLSNames); len(names) > 0 {
		return names
	}
	const service = "portlease-allocator"
	inside := service + "." + c.Namespace
	return []string{service, inside, inside + ".svc", inside + ".svc.cluster.local"}
}

// trusting are the namespaces where callers are told whom to trust, the allocator's
// own first, each once. There are none if it is not known whom.
func (c *Config) trusting() []string {
	if c.PlainHTTP || c.TLSSecret == "" && c.TLSCA == "" {
		return nil
	}
	namespaces := []string{c.Namespace}
	for _, namespace := range list(c.TrustNamespaces) {
		if !slices.Contains(namespaces, namespace) {
			namespaces = append(namespaces, namespace)
		}
	}
	return namespaces
}

// list reads what is written with commas between.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
