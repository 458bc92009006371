//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// configure writes the configuration files of the node's programs.
func (p plan) configure() error {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("finding runc: %w", err)
	}
	values := map[string]string{
		"DIR": p.Dir, "PAUSE": pauseImage, "PLUGINS": p.Tools.Plugins, "RUNC": runc,
		"NODE_IP": nodeIP, "NODE": nodeName, "PODS": podCIDR, "DNS": dnsIP,
	}
	for name, text := range map[string]string{
		"containerd.toml": containerdConfig, "kubelet.yaml": kubeletConfig, "proxy.yaml": proxyConfig, "cni/10-pods.conflist": networkConfig,
	} {
		file := p.file(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("making a folder for %s: %w", name, err)
		}
		if err := os.WriteFile(file, []byte(os.Expand(text, func(name string) string { return values[name] })), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// The out-of-memory scores stay unchanged, because a machine in a container may not
// be allowed to change them.
const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${PLUGINS}"
    conf_dir = "${DIR}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${RUNC}"
        SystemdCgroup = false
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ${DIR}/pki/ca.crt}}
authorization: {mode: Webhook}
address: ${NODE_IP}
healthzBindAddress: 127.0.0.1
oomScoreAdj: 0
resolvConf: ""
clusterDomain: cluster.local
clusterDNS: ["${DNS}"]
kubeAPIQPS: 200
kubeAPIBurst: 400
failSwapOn: false
volumePluginDir: ${DIR}/plugins
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
featureGates: {KubeletInUserNamespace: true}
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: ${DIR}/pki/proxy.kubeconfig}
hostnameOverride: ${NODE}
clusterCIDR: ${PODS}
bindAddress: 0.0.0.0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nodePortAddresses: [${NODE_IP}/24]
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// Packets between pods are routed. On a bridge, the kernel translates answers from a
// Service back only with the module br_netfilter, which few machines have loaded.
const networkConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "ptp", "ipMasq": false,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "${PODS}"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
`
