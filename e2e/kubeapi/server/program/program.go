// Command server is etcd, kube-apiserver and kubectl in one binary.
//
// It acts as the program it is called by: through a link of that name, or with
// the name as its first argument. One binary shares the packages that the three
// have in common, so it builds and links once.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

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

// programs are what the binary can be; each gets its arguments, name first.
var programs = map[string]func(args []string) int{
	"etcd": func(args []string) int {
		etcdmain.Main(args) // ends the process itself when it fails
		return 0
	},
	"kube-apiserver": func(args []string) int {
		command := apiserver.NewAPIServerCommand()
		command.SetArgs(args[1:])
		return cli.Run(command)
	},
	"kubectl": func([]string) int {
		// RunNoErrOutput, because kubectl words its errors itself.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlerrors.CheckErr(err) // ends the process
		}
		return 0
	},
}

func main() { os.Exit(run(os.Args, os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	program, ok := programs[filepath.Base(args[0])]
	if !ok && len(args) > 1 {
		args = args[1:]
		program, ok = programs[args[0]]
	}
	if !ok {
		fmt.Fprintln(stderr, "usage: server etcd|kube-apiserver|kubectl [flags]")
		return 2
	}
	os.Args = args // all three read their name from here
	return program(args)
}
