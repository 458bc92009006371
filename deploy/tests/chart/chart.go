// Package chart renders and installs deploy/chart with the real Helm, built from its
// Go module. Helm writes only to a folder that the caller gives it.
package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/portlease/portlease/e2e/kubeapi"
)

// Release and Namespace of the golden files.
const (
	Release   = "portlease"
	Namespace = "portlease"
)

var helm = kubeapi.Program{
	Name:        "helm",
	Folder:      "deploy/tests/chart/helm",
	Package:     "helm.sh/helm/v4/cmd/helm",
	Flags:       []string{"-buildvcs=false"},
	Binary:      "helm",
	Description: "Helm from its Go modules, once; this takes about 3 minutes",
}

// Folder returns the folder of the chart: above the working folder, so that a test in a
// copy of the repository reads the copy, and otherwise in the checkout of this file.
func Folder() string {
	if at, err := os.Getwd(); err == nil {
		for ; at != filepath.Dir(at); at = filepath.Dir(at) {
			folder := filepath.Join(at, "deploy", "chart")
			if _, err := os.Stat(filepath.Join(folder, "Chart.yaml")); err == nil {
				return folder
			}
		}
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "chart")
}

// Helm is the program.
type Helm struct {
	program string
	// home is a folder for Helm's cache, configuration and data.
	home string
	// kubeconfig is a file; empty means no cluster.
	kubeconfig string
}

// Program returns the path of Helm, which it builds first if it is missing; see
// [kubeapi.Program.Build].
func Program(ctx context.Context, progress io.Writer) (string, error) {
	dir, err := helm.Build(ctx, progress)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, helm.Binary), nil
}

// Build is [Program], to be run. home is an existing folder that Helm may write to,
// and kubeconfig the file of the cluster to install into, if any.
func Build(ctx context.Context, progress io.Writer, home, kubeconfig string) (*Helm, error) {
	program, err := Program(ctx, progress)
	if err != nil {
		return nil, err
	}
	return &Helm{program: program, home: home, kubeconfig: kubeconfig}, nil
}

// Run runs Helm and returns its output. The error contains Helm's error output.
func (h *Helm) Run(ctx context.Context, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.program, arguments...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HELM_") && !strings.HasPrefix(v, "KUBECONFIG=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	for _, home := range []string{"CACHE", "CONFIG", "DATA"} {
		cmd.Env = append(cmd.Env, "HELM_"+home+"_HOME="+filepath.Join(h.home, strings.ToLower(home)))
	}
	kubeconfig := h.kubeconfig
	if kubeconfig == "" {
		kubeconfig = os.DevNull
	}
	cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig)
	var output, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &complaint
	if err := cmd.Run(); err != nil {
		return output.String(), fmt.Errorf("helm %s: %w", strings.Join(arguments, " "), errors.Join(err, errors.New(complaint.String())))
	}
	return output.String(), nil
}

// Render returns the manifests that the chart renders with a values file, for Release in
// Namespace. It needs no cluster; flags are more flags of helm template.
func (h *Helm) Render(ctx context.Context, values string, flags ...string) (string, error) {
	return h.Run(ctx, append([]string{"template", Release, Folder(), "--namespace", Namespace, "--values", values}, flags...)...)
}
