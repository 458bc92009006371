// Command server is etcd, kube-apiserver and kubectl in one binary.
package main

import (
	"os"

	"github.com/portlease/portlease/e2e/kubeapi/server/program"
)

func main() { os.Exit(program.API.Run(os.Args, os.Stderr)) }
