package kubeapi

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// assetsVariable names a folder with etcd and kube-apiserver, as it does for
// controller-runtime's envtest.
const assetsVariable = "KUBEBUILDER_ASSETS"

var (
	required = []string{"etcd", "kube-apiserver"}
	programs = append([]string{"kubectl"}, required...)
)

// Assets returns a folder that holds etcd and kube-apiserver.
//
// KUBEBUILDER_ASSETS names the folder if it is set; it is an error if that folder
// lacks either program. Otherwise Assets builds both, and kubectl, from their Go
// modules into the user's cache folder; see [Program.Build]. The first build takes
// minutes and reports to progress, if that is not nil.
func Assets(ctx context.Context, progress io.Writer) (dir string, err error) {
	if progress == nil {
		progress = io.Discard
	}
	if dir := os.Getenv(assetsVariable); dir != "" {
		return dir, complete(dir)
	}
	return server.Build(ctx, progress)
}

// complete returns an error that names a program missing in the folder.
func complete(dir string) error {
	for _, program := range required {
		_, err := exec.LookPath(filepath.Join(dir, program))
		if err != nil {
			return fmt.Errorf("%s=%s has no %s (%w): name a folder that holds %s, or unset it to have them built",
				assetsVariable, dir, program, err, strings.Join(required, " and "))
		}
	}
	return nil
}

// kubernetesVersion is the version that the programs report. Only Kubernetes' own
// build scripts set it, so linkerFlags does too. A test compares it with the version
// that the nested module requires.
const kubernetesVersion = "v1.37.2"

// server acts as each of programs, by the name of the link that it is called by.
var server = Program{
	Name:        "kubeapi",
	Folder:      "e2e/kubeapi/server",
	Flags:       []string{"-buildvcs=false", "-ldflags", linkerFlags()},
	Binary:      "server",
	Links:       programs,
	Description: "etcd and kube-apiserver " + kubernetesVersion + " from their Go modules, once; this takes about 5 minutes",
	Remedy:      "set " + assetsVariable,
}

// NodePrograms is all of Kubernetes that a cluster of one node needs: etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and
// kubectl, each by a link of that name.
var NodePrograms = Program{
	Name:        "kubenode",
	Folder:      server.Folder,
	Package:     "./node",
	Flags:       server.Flags,
	Binary:      "node",
	Links:       append([]string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}, programs...),
	Description: "a whole Kubernetes " + kubernetesVersion + " from its Go modules, once; this takes about 7 minutes",
}

func linkerFlags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(kubernetesVersion, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	flags := []string{"-s", "-w"}
	for _, variables := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X", variables+".gitVersion="+kubernetesVersion,
			"-X", variables+".gitMajor="+major,
			"-X", variables+".gitMinor="+minor,
			"-X", variables+".gitTreeState=clean")
	}
	return strings.Join(flags, " ")
}
