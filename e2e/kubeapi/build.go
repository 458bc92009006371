package kubeapi

import (
	"strings"

	"github.com/portlease/portlease/e2e/kubeapi/nested"
)

// kubernetesVersion is what the programs say they are. It is the version that
// the nested module requires, and a test compares the two: a program that was
// not built by Kubernetes' own scripts does not know it by itself.
const kubernetesVersion = "v1.37.2"

// server is the one program that acts as each of programs, by links to it.
var server = nested.Module{
	Name:      "kubeapi",
	Folder:    "e2e/kubeapi/server",
	Flags:     []string{"-buildvcs=false", "-ldflags", linkerFlags()},
	Program:   "server",
	Links:     programs,
	Announced: "etcd and kube-apiserver " + kubernetesVersion + " from their Go modules, once; this takes about 5 minutes",
	Instead:   "set " + assetsVariable,
}

// NodePrograms are all of Kubernetes that a cluster of one node needs: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl, each by a
// link of that name.
var NodePrograms = nested.Module{
	Name:      "kubenode",
	Folder:    server.Folder,
	Package:   "./node",
	Flags:     server.Flags,
	Program:   "node",
	Links:     append([]string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}, programs...),
	Announced: "a whole Kubernetes " + kubernetesVersion + " from its Go modules, once; this takes about 7 minutes",
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
