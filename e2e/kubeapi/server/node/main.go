// Command node is all of Kubernetes that a cluster of one node needs, in one binary.
package main

import (
	"context"
	"maps"
	"os"

	"github.com/spf13/cobra"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/portlease/portlease/e2e/kubeapi/server/program"
)

func main() {
	programs := program.Programs{
		"kube-controller-manager": program.Of(controllers.NewControllerManagerCommand),
		"kube-scheduler":          program.Of(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
		"kube-proxy":              program.Of(proxy.NewProxyCommand),
		"kubelet":                 program.Of(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	}
	maps.Copy(programs, program.API)
	os.Exit(programs.Run(os.Args, os.Stderr))
}
