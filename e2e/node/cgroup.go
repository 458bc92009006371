//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const controlGroupRoot = "/sys/fs/cgroup"

// unified reports whether the machine has only control groups of version 2.
func unified() bool {
	_, err := os.Stat(filepath.Join(controlGroupRoot, "cgroup.controllers"))
	return err == nil
}

// controlGroups are the folders of the node's own control group: one folder in
// version 2, and one for each hierarchy in version 1. All of the node's processes
// stay below it.
type controlGroups []string

// controlGroupName includes the process id, because a killed run may have left its
// groups.
func controlGroupName() string { return "portlease-node-" + strconv.Itoa(os.Getpid()) }

func makeControlGroups() (controlGroups, error) {
	folders, err := controlGroupFolders(controlGroupName())
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("making a control group: %w", err), folders.remove())
		}
		prepare := copyProcessors
		if unified() {
			prepare = delegateToNode
		}
		if err := prepare(folder); err != nil {
			return nil, errors.Join(err, folders.remove())
		}
	}
	return folders, nil
}

// controlGroupFolders gives the folders for a group of that name. In version 1 it is
// below this process's own group. In version 2 it is at the top, because a group that
// has processes cannot delegate controllers.
func controlGroupFolders(name string) (controlGroups, error) {
	if unified() {
		return controlGroups{filepath.Join(controlGroupRoot, name)}, nil
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("reading this process's control groups: %w", err)
	}
	var folders controlGroups
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] == "" {
			continue // a version 2 hierarchy beside version 1, without controllers
		}
		hierarchy := strings.TrimPrefix(parts[1], "name=")
		folders = append(folders, filepath.Join(controlGroupRoot, hierarchy, parts[2], name))
	}
	return folders, nil
}

// kubeletControllers are the version 2 controllers that a kubelet uses to limit pods.
var kubeletControllers = []string{"cpu", "cpuset", "memory", "pids"}

// delegateToNode delegates the kubelet's controllers to the groups below a group at
// the top. systemd delegates only the controllers that its own units need, and may
// withdraw others at each log-in. It does not withdraw controllers that a group
// delegates further, so delegateToNode delegates them at once.
func delegateToNode(folder string) error {
	if err := delegate(controlGroupRoot); err != nil {
		return err
	}
	return delegate(folder)
}

// copyProcessors sets the processors and memory nodes of a new version 1 cpuset
// group, which is unusable without them.
func copyProcessors(folder string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(folder), file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // not the cpuset hierarchy
		}
		if err != nil {
			return fmt.Errorf("reading the processors of the control group: %w", err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), text, 0o600); err != nil {
			return fmt.Errorf("setting the processors of the control group: %w", err)
		}
	}
	return os.WriteFile(filepath.Join(folder, "cgroup.clone_children"), []byte("1"), 0o600)
}

// remove removes the groups and all groups below. Their processes must have ended.
func (g controlGroups) remove() error {
	var errs []error
	for _, folder := range g {
		// The kernel needs a moment after the last process has ended.
		var err error
		for range 50 {
			if err = removeBelow(folder); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func removeBelow(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing a control group: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeBelow(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(folder); err != nil {
		return fmt.Errorf("removing the control group %s: %w", folder, err)
	}
	return nil
}

// forBoot creates groups below these for one boot of the node.
func (g controlGroups) forBoot(n int) (controlGroups, error) {
	var boot controlGroups
	for _, folder := range g {
		folder = filepath.Join(folder, "boot-"+strconv.Itoa(n))
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, fmt.Errorf("making a control group: %w", err)
		}
		boot = append(boot, folder)
	}
	return boot, nil
}

// delegate delegates the kubelet's controllers to the groups below a version 2 group.
func delegate(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("reading the controllers: %w", err)
	}
	for controller := range strings.FieldsSeq(string(text)) {
		if !slices.Contains(kubeletControllers, controller) {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+controller), 0o600); err != nil {
			return fmt.Errorf("handing on controller %s: %w", controller, err)
		}
	}
	return nil
}

// enter moves this process into the groups and makes them the root of its view. Only
// the calling thread and the processes it starts have that view, so the thread must
// be locked. The returned function mounts the groups over /sys.
func (g controlGroups) enter() (mount func() error, _ error) {
	for _, folder := range g {
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte("0"), 0o600); err != nil {
			return nil, fmt.Errorf("entering a control group: %w", err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return nil, fmt.Errorf("leaving the machine's view of control groups: %w", err)
	}
	if unified() {
		return mountUnified, nil
	}
	return g.mountHierarchies, nil
}

func (g controlGroups) mountHierarchies() error {
	if err := unix.Mount("tmpfs", controlGroupRoot, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting a folder for control groups: %w", err)
	}
	for _, folder := range g {
		hierarchy, _, _ := strings.Cut(strings.TrimPrefix(folder, controlGroupRoot+"/"), "/")
		at, options := filepath.Join(controlGroupRoot, hierarchy), hierarchy
		if hierarchy == "systemd" {
			options = "none,name=systemd"
		}
		if err := os.Mkdir(at, 0o755); err != nil {
			return fmt.Errorf("making a folder for control groups: %w", err)
		}
		if err := unix.Mount("cgroup", at, "cgroup", 0, options); err != nil {
			return fmt.Errorf("mounting control groups %s: %w", hierarchy, err)
		}
	}
	return nil
}

// mountUnified moves the node's first process into a leaf group, because a group that
// delegates controllers must not have processes.
func mountUnified() error {
	if err := unix.Mount("cgroup2", controlGroupRoot, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mounting control groups: %w", err)
	}
	first := filepath.Join(controlGroupRoot, "first")
	if err := os.Mkdir(first, 0o755); err != nil {
		return fmt.Errorf("making a control group: %w", err)
	}
	if err := os.WriteFile(filepath.Join(first, "cgroup.procs"), []byte("0"), 0o600); err != nil {
		return fmt.Errorf("entering a control group: %w", err)
	}
	return delegate(controlGroupRoot)
}
