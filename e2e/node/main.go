//go:build linux

// Command node runs the stories of an installation on a real cluster of one node:
// etcd, kube-apiserver, controllers, scheduler, kubelet, containerd and kube-proxy on
// this machine. It uses the project's images and chart, and the emulated load
// balancers. It needs root and no registry. Everything that it starts lives in its
// own namespaces and ends with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Stages of the program, given by its first argument. It starts itself twice more,
// each time as the first process of new namespaces.
const (
	stageMachine = "machine" // control plane, load balancers, players
	stageNode    = "node"    // containerd, kubelet, kube-proxy
)

// plan has the settings of a stage. Stages pass it on as a file.
type plan struct {
	Dir      string // all files of this run
	Programs string // folder of Kubernetes' programs
	CoreDNS  string // program
	Helm     string // program
	Tools    tools
	Images   []string // archives
	Groups   controlGroups
	Boot     controlGroups // the node's own groups in this boot
	Only     string        // plays stories whose names contain this, and those that the others need
	Hold     bool          // stay up after the stories
}

func (p plan) file(name ...string) string {
	return filepath.Join(append([]string{p.Dir}, name...)...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := stage(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "e2e-node:", err)
		os.Exit(1)
	}
}

func stage(ctx context.Context, args []string) error {
	if len(args) == 2 && (args[0] == stageMachine || args[0] == stageNode) {
		text, err := os.ReadFile(args[1])
		if err != nil {
			return fmt.Errorf("reading the plan: %w", err)
		}
		var p plan
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("reading the plan: %w", err)
		}
		if args[0] == stageNode {
			return runNode(p)
		}
		return runMachine(ctx, p)
	}
	return run(ctx, args)
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("node", flag.ContinueOnError)
	only := flags.String("only", "", "play the stories with this in their names, and the first one, which they need")
	hold := flags.Bool("hold", false, "stay up after the stories, until interrupted")
	keep := flags.Bool("keep", false, "leave the folder with all logs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("a node makes namespaces, mounts and containers: run this as root, on a machine or VM of yours")
	}
	if !slices.ContainsFunc(stories, func(s story) bool { return strings.Contains(s.name, *only) }) {
		return fmt.Errorf("no story has %q in its name; e2e/node/stories.go lists them", *only)
	}
	p := plan{Only: *only, Hold: *hold}
	if p.Dir, err = os.MkdirTemp("", "portlease-node-"); err != nil {
		return fmt.Errorf("making a folder for the node: %w", err)
	}
	defer func() {
		if *keep {
			fmt.Fprintln(os.Stderr, "e2e-node: all logs are in", p.file("log"))
			return
		}
		err = errors.Join(err, os.RemoveAll(p.Dir))
	}()
	if err := p.prepare(ctx, os.Stderr); err != nil {
		return err
	}
	if p.Groups, err = makeControlGroups(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Groups.remove()) }()
	machine, err := restart(ctx, stageMachine, p, syscall.CLONE_NEWNS|syscall.CLONE_NEWNET|syscall.CLONE_NEWPID|syscall.CLONE_NEWIPC|syscall.CLONE_NEWUTS)
	if err != nil {
		return err
	}
	machine.Stdin, machine.Stdout, machine.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := machine.Run(); err != nil {
		return errors.Join(errors.New("not all stories went well"), context.Cause(ctx))
	}
	return nil
}

// restart prepares this program as a stage, the first process of new namespaces. When
// it ends, the kernel ends everything that it started.
func restart(ctx context.Context, stage string, p plan, namespaces uintptr) (*exec.Cmd, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("writing the plan: %w", err)
	}
	file := p.file(stage + ".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing the plan: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, stage, file)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
