// Package program makes one binary of several programs: it acts as the one it is
// called by, through a link of that name or with the name as its first argument.
// One binary shares the packages that they have in common, so it builds and links
// once.
package program

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlerrors "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"

	// Without these two the API server's own metrics lack what its
	// requests cost and which version it is.
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// Programs are what a binary can be; each gets its arguments, name first.
type Programs map[string]func(args []string) int

// API is what an API server alone needs.
var API = Programs{
	"etcd": func(args []string) int {
		etcdmain.Main(args) // ends the process itself when it fails
		return 0
	},
	"kube-apiserver": Of(apiserver.NewAPIServerCommand),
	"kubectl": func([]string) int {
		// RunNoErrOutput, because kubectl words its errors itself.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlerrors.CheckErr(err) // ends the process
		}
		return 0
	},
}

// Of is the program of a command of Kubernetes.
func Of(command func() *cobra.Command) func(args []string) int {
	return func(args []string) int {
		c := command()
		c.SetArgs(args[1:])
		return cli.Run(c)
	}
}

// Run acts as one of the programs, and gives the process's exit code.
func (p Programs) Run(args []string, stderr io.Writer) int {
	program, ok := p[filepath.Base(args[0])]
	if !ok && len(args) > 1 {
		args = args[1:]
		program, ok = p[args[0]]
	}
	if !ok {
		fmt.Fprintf(stderr, "usage: %s %s [flags]\n", filepath.Base(os.Args[0]), strings.Join(slices.Sorted(maps.Keys(p)), "|"))
		return 2
	}
	os.Args = args // all read their name from here
	return program(args)
}
