//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// processes gives the ids of this machine's processes whose given /proc file contains
// the text.
func processes(file, text string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var found []int
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil || id == os.Getpid() {
			continue
		}
		content, err := os.ReadFile(filepath.Join("/proc", e.Name(), file))
		if err == nil && bytes.Contains(content, []byte(text)) { // otherwise the process has ended
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no process with %q in its %s", text, file)
	}
	return found, nil
}

// pauseProcess stops a program until resume is called.
func pauseProcess(name string) (resume func() error, _ error) {
	ids, err := processes("comm", name+"\n")
	if err != nil {
		return nil, err
	}
	signal := func(s syscall.Signal) error {
		var errs []error
		for _, id := range ids {
			errs = append(errs, syscall.Kill(id, s))
		}
		return errors.Join(errs...)
	}
	return func() error { return signal(syscall.SIGCONT) }, signal(syscall.SIGSTOP)
}

// killProcessesOf kills all processes of a pod.
func killProcessesOf(uid string) error {
	ids, err := processes("cgroup", "pod"+uid)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if err := syscall.Kill(id, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("killing process %d: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// powerCut ends the whole node at once. Its pods' network ends too.
func (m *machine) powerCut(ctx context.Context) error {
	if err := m.node.kill(); err != nil {
		return err
	}
	m.mu.Lock()
	m.parts = slices.DeleteFunc(m.parts, func(p *part) bool { return p == m.node }) // the story ended the node itself
	m.mu.Unlock()
	_, err := output(ctx, "/", "nft", "flush", "ruleset")
	return err
}

// followed is a container's log, read until the container ends.
type followed struct {
	file string
	what string
}

// follow copies a log to a file, because the log is deleted with its pod.
func (c *cluster) follow(pod corev1.Pod, container string) (*followed, error) {
	f := &followed{file: c.file("log", string(pod.UID)+"-"+container+".log"), what: container + " of " + pod.Name}
	to, err := os.Create(f.file)
	if err != nil {
		return nil, fmt.Errorf("making a file for the log of the %s: %w", f.what, err)
	}
	cmd := exec.Command(filepath.Join(c.Programs, "kubectl"), "--kubeconfig", c.kubeconfig("admin"), "logs", "--follow", "--timestamps",
		"--namespace", pod.Namespace, pod.Name, "--container", container)
	cmd.Stdout, cmd.Stderr = to, to
	err = cmd.Start()
	if err := errors.Join(err, to.Close()); err != nil {
		return nil, fmt.Errorf("following the log of the %s: %w", f.what, err)
	}
	go cmd.Wait() //nolint:errcheck // it ends with the pod
	return f, nil
}

// when gives the time of the first line that contains the text.
func (f *followed) when(text string) (time.Time, error) {
	content, err := os.ReadFile(f.file)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the log of the %s: %w", f.what, err)
	}
	for line := range strings.Lines(string(content)) {
		if stamp, rest, _ := strings.Cut(line, " "); strings.Contains(rest, text) {
			return time.Parse(time.RFC3339Nano, stamp)
		}
	}
	return time.Time{}, fmt.Errorf("the log of the %s does not say %q:\n%s", f.what, text, content)
}
