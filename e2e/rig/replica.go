package rig

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/shared/api"
)

// Replica is one allocator process.
type Replica struct {
	rig     *Rig
	name    string
	address string
	log     string // path of its log
	kube    *link
	aws     *link
	flags   []string // flags that it always has
	process part
}

// replicaPort is the same for all replicas, because each has its own address.
const replicaPort = 8443

// newReplica prepares a replica that runs with exactly the rights that the chart
// grants.
func (r *Rig) newReplica(ctx context.Context, number int, address netip.Addr) (*Replica, error) {
	a := &Replica{rig: r, name: fmt.Sprintf("allocator-%d", number+1), address: netip.AddrPortFrom(address, replicaPort).String()}
	rights, err := r.Kube.ServiceAccount(ctx, r.Namespace, "portlease-allocator")
	if err != nil {
		return nil, err
	}
	if r.KubeDoor != nil {
		if rights, err = r.kubeProxy(number, rights); err != nil {
			return nil, err
		}
	}
	if a.kube, err = r.kubeLink(a.Kubeconfig(), rights); err != nil {
		return nil, err
	}
	if a.aws, err = r.newLink(func() (string, error) { return r.emulator.Addr, nil }); err != nil {
		return nil, err
	}
	if err := r.restrict(a.AccessKey(), policies.Janitor, nil); err != nil {
		return nil, err
	}
	a.flags = []string{
		"-listen", a.address, "-tls-cert", r.identity.certFile, "-tls-key", r.identity.keyFile, "-tls-ca", r.identity.authorityFile,
		"-trust-namespaces", r.Games, "-pools", r.poolFile(),
		"-namespace", r.Namespace, "-identity", a.name, "-kubeconfig", a.Kubeconfig(),
		"-claim-duration", r.ClaimDuration.String(), "-renew-every", r.RenewEvery.String(),
		"-agent-grace", r.AgentGrace.String(), "-sweep-every", r.SweepEvery.String(), "-audit-every", r.AuditEvery.String(),
		"-target-group-lag", r.Emulator.TargetGroupLag().String(), "-in-use-window", r.InUseWindow.String(), "-propagation", r.Propagation.String(),
		"-log-level", r.LogLevel,
	}
	return a, a.Configure()
}

// Configure sets the additional flags for the next start. The replica must not be
// running.
func (a *Replica) Configure(flags ...string) (err error) {
	a.process, err = a.newProcess(slices.Concat(a.flags, flags))
	return err
}

func (a *Replica) newProcess(args []string) (part, error) {
	a.log = filepath.Join(a.rig.dir, a.name+".log")
	if !a.rig.InProcess {
		return &process{path: a.rig.programs.allocator, args: args, log: a.log, env: awsEnvironment(a.aws, accessKey(a.name))}, nil
	}
	c, err := app.Parse(args, func(string) string { return "" }, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("configuring an allocator: %w", err)
	}
	return &inProcess{log: a.log, run: func(ctx context.Context, log *slog.Logger) error {
		return app.Run(ctx, c, app.Doors{AWS: awsConfig(a.aws, accessKey(a.name))}, log)
	}}, nil
}

// awsEnvironment gives the variables that point the AWS SDK at the emulator.
func awsEnvironment(l *link, key string) []string {
	return []string{
		"AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=rig", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=http://" + l.Addr(), "HOME=/nonexistent",
	}
}

// Name gives the replica's name.
func (a *Replica) Name() string { return a.name }

// Kubeconfig is the file by which the replica reaches the API server through its own link.
func (a *Replica) Kubeconfig() string { return filepath.Join(a.rig.dir, a.name+".kubeconfig") }

// PID gives the replica's process id.
func (a *Replica) PID() int { return pidOf(a.process) }

// Start starts the process unless it runs.
func (a *Replica) Start(context.Context) error { return a.process.start() }

// Stop ends the replica gracefully.
func (a *Replica) Stop(ctx context.Context) error { return a.process.stop(ctx) }

// Kill ends the replica at once.
func (a *Replica) Kill(ctx context.Context) error { return a.process.kill(ctx) }

// Pause freezes the replica until Resume.
func (a *Replica) Pause() error { return a.process.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (a *Replica) Resume() error { return a.process.signal(syscall.SIGCONT) }

// CutKubernetes cuts the replica off from the API server until Heal.
func (a *Replica) CutKubernetes() { a.kube.Cut() }

// SlowKubernetes makes each answer of the API server, and each event of a watch, come later by
// lag. 0 ends that.
func (a *Replica) SlowKubernetes(lag time.Duration) { a.kube.Slow(lag) }

// CutAWS cuts the replica off from AWS until Heal.
func (a *Replica) CutAWS() { a.aws.Cut() }

// Heal ends both cuts.
func (a *Replica) Heal() { a.kube.Heal(); a.aws.Heal() }

// Revive makes the replica serve again, in whatever state a test left it.
func (a *Replica) Revive(ctx context.Context) error {
	a.Heal()
	if err := a.Resume(); err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	return a.WaitReady(ctx)
}

// WaitReady waits until the replica's readiness probe passes.
func (a *Replica) WaitReady(ctx context.Context) error {
	return Eventually(ctx, a.name+" to be ready", func() error {
		_, err := a.get(ctx, "/readyz")
		return err
	})
}

// Metrics gives the replica's metrics page.
func (a *Replica) Metrics(ctx context.Context) (string, error) { return a.get(ctx, "/metrics") }

func (a *Replica) get(ctx context.Context, path string) (string, error) {
	return a.rig.Get(ctx, "https://"+a.address+path, "")
}

// URL gives the replica's address without a link in between.
func (a *Replica) URL() string { return "https://" + a.address }

// HTTP gives a client that trusts the allocator's certificate and checks answers
// against the OpenAPI document.
func (r *Rig) HTTP() *http.Client { return r.client("", true) }

// HTTP gives a client like the rig's whose connections come from the pod's address.
func (p *Pod) HTTP() *http.Client { return p.rig.client(p.IP, true) }

// KeepingHTTP is HTTP with keep-alive connections, as agents use them.
func (p *Pod) KeepingHTTP() *http.Client { return p.rig.client(p.IP, false) }

func (r *Rig) client(from string, once bool) *http.Client {
	transport := r.toAllocator(from)
	transport.DisableKeepAlives = once
	return &http.Client{Timeout: 30 * time.Second, Transport: checked{r, transport}}
}

// toAllocator makes a transport that trusts the allocator's certificate. Its connections
// come from that address, because the allocator limits what one address may do. An empty
// one stands for many callers: each connection has an address of its own.
func (r *Rig) toAllocator(from string) *http.Transport {
	return &http.Transport{
		TLSClientConfig: r.ClientTLS(), IdleConnTimeout: idleTimeout,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			source := net.ParseIP(from)
			if from == "" {
				source = net.IPv4(127, 31, byte(rand.Uint32()), byte(rand.Uint32())) // neither a pod's nor a replica's
			}
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}).DialContext(ctx, network, address)
		},
	}
}

// ClientTLS gives the TLS configuration of a caller that trusts the allocator's
// certificate.
func (r *Rig) ClientTLS() *tls.Config {
	return &tls.Config{RootCAs: r.identity.pool, MinVersion: tls.VersionTLS12}
}

// Call makes one call to this replica and gives the status and body of any answer.
func (a *Replica) Call(ctx context.Context, method, path, token, body string) (int, string, error) {
	return call(ctx, a.rig.HTTP(), method, a.URL()+path, token, body)
}

// Get requests a URL, with the bearer token if it is not empty. It gives the body of
// a 200; any other status is an error.
func (r *Rig) Get(ctx context.Context, url, token string) (string, error) {
	status, body, err := call(ctx, r.HTTP(), http.MethodGet, url, token, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answered %d: %s", url, status, body)
	}
	return body, err
}

func call(ctx context.Context, client *http.Client, method, url, token, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", fmt.Errorf("calling %s: %w", url, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("calling %s: %w", url, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, "", fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return answer.StatusCode, string(text), nil
}

// WaitPool waits until every replica has read the load balancers.
func (r *Rig) WaitPool(ctx context.Context) error {
	for _, a := range r.Replicas {
		if err := a.WaitPool(ctx); err != nil {
			return err
		}
	}
	return nil
}

// WaitPool is Rig.WaitPool for one replica.
func (a *Replica) WaitPool(ctx context.Context) error {
	admin, err := a.rig.AdminToken(ctx)
	if err != nil {
		return err
	}
	return Eventually(ctx, a.name+" to know its pool", func() error {
		body, err := a.rig.Get(ctx, a.URL()+"/v1/pools", admin)
		if err == nil && strings.Contains(body, "leftOut") {
			err = errors.New(body)
		}
		return err
	})
}

// AdminToken gives an admin's token that may list and change the ledger.
func (r *Rig) AdminToken(ctx context.Context) (string, error) {
	return r.AdminTokenOf(ctx, "portlease-allocator")
}

// AdminTokenOf gives a token with the rights of a service account in the allocator's
// namespace, as kubectl create token makes it.
func (r *Rig) AdminTokenOf(ctx context.Context, account string) (string, error) {
	request, err := r.Admin.CoreV1().ServiceAccounts(r.Namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{api.AdminAudience}, ExpirationSeconds: new(int64(24 * time.Hour / time.Second))},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting an admin's token: %w", err)
	}
	return request.Status.Token, nil
}
