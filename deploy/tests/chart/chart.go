// Package chart renders and installs deploy/chart with the real Helm, built from its
// Go helm. Helm keeps nothing outside of a folder that its caller gives it.
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

// Release and Namespace are those that the golden files are rendered for.
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

// Folder is the chart's, in the checkout that this file lies in.
func Folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "chart")
}

// Helm is the program.
type Helm struct {
	program string
	// home is a folder for what Helm would otherwise keep in the user's.
	home string
	// kubeconfig is a file; empty: there is no cluster.
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

// Run runs Helm and gives what it prints. Its error has all that Helm had to say.
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

// Render gives the manifests of the chart with a file of values, as they are for
// Release in Namespace. It asks no cluster; flags are more of helm template's.
func (h *Helm) Render(ctx context.Context, values string, flags ...string) (string, error) {
	return h.Run(ctx, append([]string{"template", Release, Folder(), "--namespace", Namespace, "--values", values}, flags...)...)
}
