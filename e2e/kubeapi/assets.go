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
// If KUBEBUILDER_ASSETS is set, Assets returns that folder, or an error if the folder
// lacks either program. Otherwise it builds both, and kubectl, from their Go modules into
// the user's cache folder; see [Program.Build]. The first build takes minutes and reports
// to progress, unless that is nil.
func Assets(ctx context.Context, progress io.Writer) (dir string, err error) {
	if progress == nil {
		progress = io.Discard
	}
	if dir := os.Getenv(assetsVariable); dir != "" {
		return dir, checkPrograms(dir)
	}
	return server.Build(ctx, progress)
}

// checkPrograms returns an error that names the first program missing in the folder.
func checkPrograms(dir string) error {
	for _, program := range required {
		_, err := exec.LookPath(filepath.Join(dir, program))
		if err != nil {
			return fmt.Errorf("%s=%s has no %s (%w): name a folder that holds %s, or unset it to have them built",
				assetsVariable, dir, program, err, strings.Join(required, " and "))
		}
	}
	return nil
}

// kubernetesVersion is the version that the programs report. The Go tool does not set it,
// only Kubernetes' own build scripts do, so linkerFlags sets it. A test compares it with
// the version that the nested module requires.
const kubernetesVersion = "v1.37.2"

// server is one binary; it acts as the program whose name it is called by.
var server = Program{
	Name:        "kubeapi",
	Folder:      "e2e/kubeapi/server",
	Flags:       []string{"-buildvcs=false", "-ldflags", linkerFlags()},
	Binary:      "server",
	Links:       programs,
	Description: "etcd and kube-apiserver " + kubernetesVersion + " from their Go modules, once; this takes about 5 minutes",
	Remedy:      "set " + assetsVariable,
}

// NodePrograms has all programs of a one-node cluster: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl. Each is a link
// to one binary.
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
