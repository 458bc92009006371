//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sysctls are the settings that a kubelet requires. The node mounts files with these
// values over the machine's files, so the machine's settings stay unchanged.
var sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// runNode is the first process of the node. When it is killed, all containers end
// with it, as in a power failure.
func runNode(p plan) error {
	runtime.LockOSThread() // children inherit this thread's view of control groups
	mountGroups, err := p.Boot.enter()
	if err != nil {
		return err
	}
	for _, step := range []func() error{p.Tools.use, p.mount, mountGroups, p.configure} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := p.spawn("containerd", "--config", p.file("containerd.toml")); err != nil {
		return err
	}
	ctr := func(args ...string) error {
		_, err := output(context.Background(), "/", "ctr", append([]string{"--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"}, args...)...)
		return err
	}
	up := false
	for range 300 {
		if up = ctr("version") == nil; up {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !up {
		return fmt.Errorf("containerd does not answer; its log ends:\n%s", lastLines(p.file("log", "containerd.log")))
	}
	for _, image := range p.Images {
		if err := ctr("images", "import", image); err != nil {
			return err
		}
	}
	if err := p.spawn(filepath.Join(p.Programs, "kubelet"), "--kubeconfig="+p.file("pki", "kubelet.kubeconfig"), "--config="+p.file("kubelet.yaml"),
		"--hostname-override="+nodeName, "--node-ip="+nodeIP, "--cert-dir="+p.file("kubelet-pki")); err != nil {
		return err
	}
	if err := p.spawn(filepath.Join(p.Programs, "kube-proxy"), "--config="+p.file("proxy.yaml")); err != nil {
		return err
	}
	return reap()
}

// reap waits for every process that ends, because a node's first process inherits all
// orphans.
func reap() error {
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(-1, &status, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the node's processes: %w", err)
		}
	}
}

// spawn starts a program of the node whose output goes to a log of its name. Only
// reap waits for it.
func (p plan) spawn(program string, args ...string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("finding %s: %w", program, err)
	}
	log, err := os.OpenFile(p.file("log", filepath.Base(program)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", program, err)
	}
	_, err = os.StartProcess(path, append([]string{program}, args...), &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, log, log}})
	if err := errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("starting %s: %w", program, err)
	}
	return nil
}

// mount mounts the node's own folders over the machine's. Folders that a disk would
// keep survive a restart of the node.
func (p plan) mount() error {
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""), unix.Mount("sysfs", "/sys", "sysfs", 0, "")); err != nil {
		return fmt.Errorf("mounting the node's own folders: %w", err)
	}
	for name, value := range sysctls {
		file := p.file("sysctl", strings.ReplaceAll(name, "/", "_"))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(value+"\n"), 0o600)); err != nil {
			return fmt.Errorf("writing what the kubelet wants to see: %w", err)
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("showing the kubelet %s: %w", name, err)
		}
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	// The overlay keeps the machine's own /var unchanged.
	upper, work := p.file("var", "upper"), p.file("var", "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return fmt.Errorf("making the node's /var: %w", err)
	}
	if err := unix.Mount("overlay", "/var", "overlay", 0, "lowerdir=/var,upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("mounting the node's /var: %w", err)
	}
	// Containers have their own overlays, which cannot be on top of another overlay.
	for _, folder := range []string{"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log/pods", "/var/log/containers"} {
		own := p.file("disk", folder)
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.MkdirAll(own, 0o755)); err != nil {
			return fmt.Errorf("making %s: %w", folder, err)
		}
		if err := unix.Mount(own, folder, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", folder, err)
		}
	}
	if err := unix.Mount("", "/var/lib/kubelet", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing the pods' volumes: %w", err)
	}
	return nil
}
