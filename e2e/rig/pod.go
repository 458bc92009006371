package rig

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/agent/app"
	"github.com/portlease/portlease/shared/api"
)

// httpPort is where an agent serves probes and health checks on its pod IP. If
// earlier pods had the same IP, the agent adds their number, because their agents may
// still run here. On real nodes, network namespaces separate them.
const httpPort = 9901

// localPort is where the agent serves its own pod, counted like httpPort. In a real
// pod that is loopback. Here each pod has its own loopback address.
const localPort = 9801

// Pod is one game-server pod: an object in the API server, a loopback address, an
// agent process and perhaps a game process.
type Pod struct {
	rig *Rig
	// Name, UID and IP are the pod's. Ports has the requested ports in the agent's
	// syntax.
	Name, UID, IP, Ports string

	dir         string
	http, local string
	// allocator, kube and aws are the agent's connections, which a test can cut.
	allocator, kube *gate
	aws             *link
	// changeAWS changes the configuration of an agent that runs in this process.
	changeAWS func(*aws.Config)
	agent     part
	log       string

	mu    sync.Mutex
	games []*process
	// gone is set once the pod object is deleted.
	gone bool
}

// NewPod creates a running pod that requests ports, such as "game=7777/UDP". It does
// not start the agent.
func (r *Rig) NewPod(ctx context.Context, name, ports string) (*Pod, error) {
	address, err := r.addresses.next()
	if err != nil {
		return nil, err
	}
	return r.NewPodAt(ctx, name, ports, address.String())
}

// NewPodAt is NewPod with a given address, which an earlier pod may have had.
func (r *Rig) NewPodAt(ctx context.Context, name, ports, ip string) (*Pod, error) {
	made, err := r.Kube.CreatePod(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Games, Name: name},
		Spec:       corev1.PodSpec{ServiceAccountName: "game"},
	})
	if err != nil {
		return nil, err
	}
	if err := r.Kube.RunPod(ctx, r.Games, name, ip); err != nil {
		return nil, err
	}
	p := &Pod{rig: r, Name: name, UID: string(made.UID), Ports: ports}
	p.setIP(ip)
	if p.dir, err = os.MkdirTemp(r.dir, "pod-"); err != nil {
		return nil, fmt.Errorf("making the pod's folder: %w", err)
	}
	if err := os.Mkdir(p.Shared(), 0o750); err != nil {
		return nil, fmt.Errorf("making the pod's shared folder: %w", err)
	}
	if p.allocator, err = r.allocatorGate(ip); err != nil {
		return nil, err
	}
	if p.aws, err = r.newLink(func() (string, error) { return r.emulator.Addr, nil }); err != nil {
		return nil, err
	}
	if err := p.credentials(ctx); err != nil {
		return nil, err
	}
	if err := p.restrictAgent(); err != nil {
		return nil, err
	}
	p.log = filepath.Join(r.dir, "agent-"+logName(name)+"-"+p.UID[:8]+".log")
	if p.agent, err = p.newAgent(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.pods = append(r.pods, p)
	r.mu.Unlock()
	return p, nil
}

// setIP sets the pod's address and the agent's ports on it.
func (p *Pod) setIP(ip string) {
	before := p.rig.podsAt(ip)
	p.IP = ip
	p.http = net.JoinHostPort(ip, strconv.Itoa(httpPort+before))
	p.local = net.JoinHostPort(ip, strconv.Itoa(localPort+before))
}

// podsAt counts the pods that have had an address.
func (r *Rig) podsAt(ip string) int {
	n := 0
	for _, p := range r.Pods() {
		if p.IP == ip {
			n++
		}
	}
	return n
}

func (p *Pod) newAgent() (part, error) {
	if !p.rig.InProcess && !p.rig.AgentsInProcess {
		return &process{path: p.rig.programs.agent, log: p.log, env: p.environment()}, nil
	}
	c, err := app.Parse(nil, lookup(p.environment()), io.Discard)
	if err != nil {
		return nil, fmt.Errorf("configuring an agent: %w", err)
	}
	return &inProcess{log: p.log, run: func(ctx context.Context, log *slog.Logger) error {
		config := awsConfig(p.aws, accessKey(p.UID))
		if p.changeAWS != nil {
			p.changeAWS(config)
		}
		return app.Run(ctx, c, app.Dependencies{AWS: config}, log)
	}}, nil
}

// ConfigureAWS changes the AWS configuration of an agent that runs in this process, from
// its next start on.
func (p *Pod) ConfigureAWS(change func(*aws.Config)) { p.changeAWS = change }

// lookup finds a variable in an environment. As for a process, the last one counts.
func lookup(environment []string) func(string) string {
	return func(name string) string {
		for _, variable := range slices.Backward(environment) {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func logName(pod string) string { return pod[:min(len(pod), 60)] }

// credentials writes the tokens that a kubelet would project, both bound to the pod:
// one for the allocator and one for the API server.
func (p *Pod) credentials(ctx context.Context) error {
	r := p.rig
	token, err := r.Token(ctx, p.Name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.tokenFile(), []byte(token), 0o600); err != nil {
		return fmt.Errorf("writing the pod's token: %w", err)
	}
	own, err := r.Kube.PodToken(ctx, r.Games, p.Name, "", time.Hour)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.kubeTokenFile(), []byte(own), 0o600); err != nil {
		return fmt.Errorf("writing the pod's token for the API server: %w", err)
	}
	p.kube, err = r.kubeGate(r.Kube.TokenConfig(own))
	return err
}

// Token creates a pod's token for the allocator.
func (r *Rig) Token(ctx context.Context, pod string) (string, error) {
	return r.Kube.PodToken(ctx, r.Games, pod, api.Audience, time.Hour)
}

func (p *Pod) tokenFile() string { return filepath.Join(p.dir, "token") }

func (p *Pod) kubeTokenFile() string { return filepath.Join(p.dir, "kube-token") }

// Shared gives the folder that agent and game share.
func (p *Pod) Shared() string { return filepath.Join(p.dir, "portlease") }

func (p *Pod) environment() []string {
	r := p.rig
	// Most pods here have no game that could be looked at.
	environment := append(awsEnvironment(p.aws, accessKey(p.UID)), "PORTLEASE_HEALTH=signals")
	return append(append(environment, r.AgentSettings...),
		"PORTLEASE_ALLOCATOR=https://"+p.allocator.server.Addr, "PORTLEASE_ALLOCATOR_CA="+r.identity.authorityFile, "PORTLEASE_TOKEN_FILE="+p.tokenFile(),
		"PORTLEASE_KUBE=https://"+p.kube.server.Addr, "PORTLEASE_KUBE_CA="+r.identity.authorityFile, "PORTLEASE_KUBE_TOKEN_FILE="+p.kubeTokenFile(),
		"PORTLEASE_NAMESPACE="+r.Games, "PORTLEASE_POD="+p.Name, "PORTLEASE_POD_UID="+p.UID,
		"PORTLEASE_POD_IP="+p.IP, "PORTLEASE_POOL=default", "PORTLEASE_PORTS="+p.Ports, "PORTLEASE_DIR="+p.Shared(),
		"PORTLEASE_HTTP_ADDRESS="+p.http, "PORTLEASE_LOCAL_ADDRESS="+p.local, "PORTLEASE_LOG_LEVEL="+r.LogLevel,
	)
}

// Start starts the agent unless it runs.
func (p *Pod) Start() error { return p.agent.start() }

// Running reports whether the agent runs.
func (p *Pod) Running() bool { return p.agent.running() }

// PID gives the agent's process id.
func (p *Pod) PID() int { return pidOf(p.agent) }

// Kill ends the agent at once. The pod stays, as when a container is killed.
func (p *Pod) Kill(ctx context.Context) error { return p.agent.kill(ctx) }

// Pause freezes the agent until Resume.
func (p *Pod) Pause() error { return p.agent.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Pod) Resume() error { return p.agent.signal(syscall.SIGCONT) }

// Cut cuts the agent off from allocator, AWS and API server until Heal.
func (p *Pod) Cut() { p.allocator.cut.Store(true); p.aws.Cut(); p.kube.cut.Store(true) }

// Heal ends Cut.
func (p *Pod) Heal() { p.allocator.cut.Store(false); p.aws.Heal(); p.kube.cut.Store(false) }

// Signal sends SIGTERM to the agent and does not wait.
func (p *Pod) Signal() error { return p.agent.signal(syscall.SIGTERM) }

// Terminating deletes the pod object with a grace period and sends SIGTERM, as an
// admin and the kubelet do. It does not wait.
func (p *Pod) Terminating(ctx context.Context, grace time.Duration) error {
	if err := p.rig.Kube.TerminatePod(ctx, p.rig.Games, p.Name, grace); err != nil {
		return err
	}
	return p.Signal()
}

// Ended waits until the agent has ended. It gives the exit code, or -1 for a signal.
func (p *Pod) Ended(ctx context.Context) (code int, err error) { return p.agent.wait(ctx) }

// WaitBound waits until the agent's startup probe passes: the ports are bound and the files
// are written.
func (p *Pod) WaitBound(ctx context.Context) error {
	return Eventually(ctx, p.Name+" to be bound", func() error { return p.Started(ctx) })
}

// Started returns nil while the agent's startup probe passes.
func (p *Pod) Started(ctx context.Context) error {
	_, err := p.rig.Get(ctx, "http://"+p.http+"/startupz", "")
	return err
}

// WaitReady waits until the agent's readiness probe passes: the load balancer reports
// the pod as healthy.
func (p *Pod) WaitReady(ctx context.Context) error {
	return Eventually(ctx, p.Name+" to be ready", func() error {
		_, err := p.rig.Get(ctx, "http://"+p.http+"/readyz", "")
		return err
	})
}

// Annotations gives the annotations of the pod object.
func (p *Pod) Annotations(ctx context.Context) (map[string]string, error) {
	pod, err := p.rig.Admin.CoreV1().Pods(p.rig.Games).Get(ctx, p.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading pod %s: %w", p.Name, err)
	}
	return pod.Annotations, nil
}

// Call makes one call to an allocator replica as this pod and gives the status and
// body of the answer.
func (p *Pod) Call(ctx context.Context, a *Replica, method, path, token, body string) (int, string, error) {
	return p.CallBy(ctx, p.HTTP(), a, method, path, token, body)
}

// CallBy is Call with the caller's own client, which may keep its connection.
func (p *Pod) CallBy(ctx context.Context, client *http.Client, a *Replica, method, path, token, body string) (int, string, error) {
	return call(ctx, client, method, a.URL()+api.ClaimPath(p.rig.Games, p.Name)+path, token, body)
}
