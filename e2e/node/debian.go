//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// wanted maps the programs that a node needs, and that are not built from Go modules,
// to their Debian packages. ptp is a CNI plugin.
var wanted = map[string]string{
	"containerd": "containerd", "runc": "runc", "ptp": "containernetworking-plugins", "nft": "nftables", "buildah": "buildah",
}

// tools says where a node's programs are.
type tools struct {
	Path      string // folders, as in the variable PATH
	Libraries string // folders, as in LD_LIBRARY_PATH; empty if the machine's own suffice
	Plugins   string // folder of the CNI plugins
}

// findTools uses the machine's own programs if it has all of them. Otherwise it
// unpacks Debian's packages into the cache folder; it installs nothing.
func findTools(ctx context.Context, cache string, progress io.Writer) (tools, error) {
	own := tools{Path: os.Getenv("PATH")}
	for _, folder := range []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"} {
		if _, err := os.Stat(filepath.Join(folder, "ptp")); err == nil {
			own.Plugins = folder
		}
	}
	var missing []string
	for program := range wanted {
		if _, err := exec.LookPath(program); err != nil && (program != "ptp" || own.Plugins == "") {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return own, nil
	}
	slices.Sort(missing)
	if _, err := exec.LookPath("apt-get"); err != nil {
		return own, fmt.Errorf("there is no %s here, and no apt-get to fetch Debian's: install them", strings.Join(missing, ", "))
	}
	root := filepath.Join(cache, "debian")
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(progress, "node: unpacking Debian's packages, because there is no %s here …\n", strings.Join(missing, ", "))
		if err := unpack(ctx, root); err != nil {
			return own, err
		}
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
	if err != nil {
		return own, fmt.Errorf("looking for the packages' libraries: %w", err)
	}
	return tools{
		Path:      filepath.Join(root, "usr/bin") + ":" + filepath.Join(root, "usr/sbin") + ":" + os.Getenv("PATH"),
		Libraries: strings.Join(libraries, ":"),
		Plugins:   filepath.Join(root, "usr/lib/cni"),
	}, nil
}

// use changes the environment so that this process and its children find the tools.
func (t tools) use() error {
	if err := os.Setenv("PATH", t.Path); err != nil {
		return fmt.Errorf("setting PATH: %w", err)
	}
	if t.Libraries == "" {
		return nil
	}
	if err := os.Setenv("LD_LIBRARY_PATH", t.Libraries); err != nil {
		return fmt.Errorf("setting LD_LIBRARY_PATH: %w", err)
	}
	return nil
}

// uri matches a line of apt-get --print-uris.
var uri = regexp.MustCompile(`(?m)^'\S+' (\S+?)_\S+\.deb `)

// unpack downloads the wanted packages and their missing dependencies. It unpacks
// them into a folder, which appears complete or not at all.
func unpack(ctx context.Context, root string) (err error) {
	building, err := os.MkdirTemp(filepath.Dir(root), "debian.building-*")
	if err != nil {
		return fmt.Errorf("making a folder for Debian's packages: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(building)) }()
	var packages []string
	for _, name := range wanted {
		packages = append(packages, name)
	}
	list, err := output(ctx, building, "apt-get", append([]string{"install", "--print-uris", "--yes", "--no-install-recommends", "--reinstall"}, packages...)...)
	if err != nil {
		return fmt.Errorf("%w\nIf the list of packages is too old: apt-get update", err)
	}
	var names []string
	for _, m := range uri.FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	if _, err := output(ctx, building, "apt-get", append([]string{"download"}, names...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(building, "*.deb"))
	if err != nil {
		return fmt.Errorf("looking for the packages: %w", err)
	}
	to := filepath.Join(building, "root")
	for _, file := range files {
		if _, err := output(ctx, building, "dpkg", "-x", file, to); err != nil {
			return err
		}
	}
	if err := os.Rename(to, root); err != nil {
		return fmt.Errorf("putting Debian's packages in their place: %w", err)
	}
	return nil
}

// output runs a program and gives its output, even if it fails. The error contains
// the program's error output.
func output(ctx context.Context, folder, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, complaint.Bytes())
	}
	return out.String(), nil
}
