//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses inside the machine's own network namespace.
const (
	nodeIP    = "10.200.0.1"
	nodeName  = "node-1"
	podCIDR   = "10.244.0.0/24"
	services  = "10.96.0.0/16"
	firstIP   = "10.96.0.1" // of the API server's Service
	apiPort   = "6443"
	dnsIP     = nodeIP
	emulator  = nodeIP + ":4566"
	awsRegion = "eu-central-1"
	account   = "123456789012"
)

// runMachine is the first process of the machine. It has its own network, starts
// everything in it, and runs the stories.
func runMachine(ctx context.Context, p plan) (err error) {
	signal.Reset(syscall.SIGTERM)
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Sethostname([]byte(nodeName)),
		os.MkdirAll(p.file("log"), 0o755),
		p.Tools.use(),
	); err != nil {
		return fmt.Errorf("making the machine: %w", err)
	}
	for _, command := range []string{
		"ip link set lo up",
		"ip link add node0 type veth peer name node0p",
		"ip addr add " + nodeIP + "/24 dev node0",
		"ip link set node0 up",
		"ip link set node0p up",
		"ip route add default dev node0",
	} {
		words := strings.Fields(command)
		if _, err := output(ctx, "/", words[0], words[1:]...); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return fmt.Errorf("forwarding packets: %w", err)
	}
	m := &machine{plan: p}
	defer m.stop()
	if err := m.startControlPlane(ctx); err != nil {
		return err
	}
	if err := m.boot(ctx); err != nil {
		return err
	}
	return m.play(ctx)
}

// machine is everything that runs in the machine's namespaces.
type machine struct {
	plan
	mu    sync.Mutex
	parts []*part
	node  *part // the running node; nil while it is off
	boots int
}

// part is a process of the machine.
type part struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts a program whose output goes to a log of that name.
func (m *machine) start(name string, cmd *exec.Cmd) (*part, error) {
	p := &part{name: name, log: m.file("log", name+".log"), cmd: cmd, done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	if err := errors.Join(err, log.Close()); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // its log says how it ended, and its users notice
		close(p.done)
	}()
	m.mu.Lock()
	m.parts = append(m.parts, p)
	m.mu.Unlock()
	return p, nil
}

// program starts one of Kubernetes' programs.
func (m *machine) program(name string, args ...string) error {
	_, err := m.start(name, exec.Command(filepath.Join(m.Programs, name), args...))
	return err
}

// kill ends a part at once and waits until it has ended.
func (p *part) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// ended returns an error with the end of the log if the part has ended by itself.
func (p *part) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended; its log ends:\n%s", p.name, lastLines(p.log))
	default:
		return nil
	}
}

func lastLines(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// stop ends all parts, the last one first. The kernel ends their remaining processes
// when this process ends.
func (m *machine) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range slices.Backward(m.parts) {
		_ = p.kill()
	}
}

// eventually calls ask until it returns no error, for at most patience. It fails at
// once if a part has ended.
func (m *machine) eventually(ctx context.Context, patience time.Duration, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		m.mu.Lock()
		for _, p := range m.parts {
			if ended := p.ended(); ended != nil {
				err = errors.Join(ended, err)
				cancel()
			}
		}
		m.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting up to %v for %s: %w", patience, what, err)
		}
	}
}

// boot starts the node and waits until it is ready.
func (m *machine) boot(ctx context.Context) error {
	m.boots++
	p := m.plan
	var err error
	if p.Boot, err = m.Groups.forBoot(m.boots); err != nil {
		return err
	}
	cmd, err := restart(context.WithoutCancel(ctx), stageNode, p, syscall.CLONE_NEWNS|syscall.CLONE_NEWPID)
	if err != nil {
		return err
	}
	if m.node, err = m.start("node", cmd); err != nil {
		return err
	}
	return m.eventually(ctx, time.Minute, "the node to be ready", func(ctx context.Context) error {
		out, err := m.kubectl(ctx, "get", "node", nodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && out != "True" {
			err = fmt.Errorf("it is ready: %q; its log ends:\n%s", out, lastLines(m.file("log", "kubelet.log")))
		}
		return err
	})
}
