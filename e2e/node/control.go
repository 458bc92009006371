//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
)

// kubeconfigs are the kubeconfigs of the cluster, each with its user and group.
var kubeconfigs = map[string][2]string{
	"admin":      {"admin", "system:masters"},
	"controller": {"system:kube-controller-manager", ""},
	"scheduler":  {"system:kube-scheduler", ""},
	"proxy":      {"system:kube-proxy", ""},
	"kubelet":    {"system:node:" + nodeName, "system:nodes"},
	"coredns":    {"coredns", "system:masters"},
}

func (m *machine) kubeconfig(who string) string { return m.file("pki", who+".kubeconfig") }

// issue creates all certificates and kubeconfigs.
func (m *machine) issue() error {
	if err := os.MkdirAll(m.file("pki"), 0o700); err != nil {
		return fmt.Errorf("making the folder of certificates: %w", err)
	}
	authority, err := kubeapi.NewAuthority()
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.crt": authority.PEM}
	server, err := authority.Serving("kube-apiserver", []net.IP{net.ParseIP(nodeIP), net.ParseIP(firstIP), net.IPv4(127, 0, 0, 1)},
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	files["server.crt"], files["server.key"] = server.Certificate, server.Key
	toKubelet, err := authority.Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	files["kubelet-client.crt"], files["kubelet-client.key"] = toKubelet.Certificate, toKubelet.Key
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key of tokens: %w", err)
	}
	if files["tokens.key"], err = kubeapi.KeyPEM(tokens); err != nil {
		return err
	}
	encode := base64.StdEncoding.EncodeToString
	for who, names := range kubeconfigs {
		pair, err := authority.Client(names[0], names[1])
		if err != nil {
			return err
		}
		files[who+".kubeconfig"] = fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: it, user: it}}]
clusters: [{name: it, cluster: {server: "https://%s:%s", certificate-authority-data: %s}}]
users: [{name: it, user: {client-certificate-data: %s, client-key-data: %s}}]
`, nodeIP, apiPort, encode(authority.PEM), encode(pair.Certificate), encode(pair.Key))
	}
	for name, text := range files {
		if err := os.WriteFile(m.file("pki", name), text, 0o600); err != nil {
			return fmt.Errorf("writing certificates: %w", err)
		}
	}
	return nil
}

// startControlPlane starts the programs that a managed cluster runs outside its
// nodes.
func (m *machine) startControlPlane(ctx context.Context) error {
	if err := m.issue(); err != nil {
		return err
	}
	socket, peers := "unix://"+m.file("etcd.sock"), "unix://"+m.file("peer.sock")
	at := func(name string) string { return m.file("pki", name) }
	if err := errors.Join(
		m.program("etcd", "--name=default", "--data-dir="+m.file("etcd"), "--listen-client-urls="+socket, "--advertise-client-urls="+socket,
			"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers,
			"--log-level=warn", "--unsafe-no-fsync"), // no data outlives the machine
		m.program("kube-apiserver", "--etcd-servers="+socket, "--bind-address=0.0.0.0", "--advertise-address="+nodeIP, "--secure-port="+apiPort,
			"--cert-dir="+m.file("pki"), "--tls-cert-file="+at("server.crt"), "--tls-private-key-file="+at("server.key"), "--client-ca-file="+at("ca.crt"),
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+at("tokens.key"), "--service-account-signing-key-file="+at("tokens.key"),
			"--service-cluster-ip-range="+services, "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--kubelet-client-certificate="+at("kubelet-client.crt"), "--kubelet-client-key="+at("kubelet-client.key"), "--kubelet-preferred-address-types=InternalIP"),
	); err != nil {
		return err
	}
	if err := m.eventually(ctx, time.Minute, "the API server", func(ctx context.Context) error {
		_, err := m.kubectl(ctx, "get", "--raw", "/readyz")
		return err
	}); err != nil {
		return err
	}
	if err := os.WriteFile(m.file("Corefile"), fmt.Appendf(nil, "cluster.local:53 {\n  bind %s\n  errors\n  kubernetes cluster.local {\n    kubeconfig %s\n  }\n}\n", dnsIP, m.kubeconfig("coredns")), 0o600); err != nil {
		return fmt.Errorf("writing the name service's configuration: %w", err)
	}
	return errors.Join(
		m.program("kube-controller-manager", "--kubeconfig="+m.kubeconfig("controller"), "--use-service-account-credentials", "--root-ca-file="+at("ca.crt"),
			"--service-account-private-key-file="+at("tokens.key"), "--leader-elect=false", "--flex-volume-plugin-dir="+m.file("plugins"),
			"--node-monitor-period=500ms", "--kube-api-qps=500", "--kube-api-burst=1000", "--bind-address=127.0.0.1"),
		m.program("kube-scheduler", "--kubeconfig="+m.kubeconfig("scheduler"), "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", "--bind-address=127.0.0.1"),
		m.startDNS(),
	)
}
