package kubeapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// etcdSocket is the path of a Unix socket. This etcd has no authentication, and other
// users cannot reach the socket.
func (a *API) etcdSocket() string { return a.folder.file("etcd.sock") }

func (a *API) startEtcd(ctx context.Context, program string) error {
	peers := "unix://" + a.folder.file("peer.sock") // this etcd has no peers
	clients := "unix://" + a.etcdSocket()
	var err error
	a.etcd, err = startChild(program, a.folder.file("etcd.log"),
		"--name=default",
		"--data-dir="+a.folder.file("etcd"),
		"--listen-client-urls="+clients,
		"--advertise-client-urls="+clients,
		"--listen-peer-urls="+peers,
		"--initial-advertise-peer-urls="+peers,
		"--initial-cluster=default="+peers,
		"--log-level=warn",
		"--unsafe-no-fsync", // the data need not survive the process
	)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", a.etcdSocket())
		},
	}}
	defer client.CloseIdleConnections()
	return await(ctx, a.etcd, func(ctx context.Context) error {
		return healthy(ctx, client, "http://etcd/health")
	})
}

// prepare writes the API server's files and decides its flags.
func (a *API) prepare(authority *Authority, config Config) error {
	keys, err := writeKeys(authority, a.folder.path)
	if err != nil {
		return err
	}
	a.flags = []string{
		"--etcd-servers=unix://" + a.etcdSocket(),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(a.port.port),
		"--permit-port-sharing", // with the reservation
		"--cert-dir=" + a.folder.path,
		"--tls-cert-file=" + keys.certificate,
		"--tls-private-key-file=" + keys.key,
		"--client-ca-file=" + keys.authority,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + keys.serviceAccount,
		"--service-account-signing-key-file=" + keys.serviceAccount,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}
	if !config.Audit {
		return nil
	}
	a.auditLog = a.folder.file("audit.log")
	policy := a.folder.file("audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	a.flags = append(a.flags,
		"--audit-policy-file="+policy,
		"--audit-log-path="+a.auditLog,
		"--audit-log-maxsize=4096", // megabytes; rotation would hide entries, because only one file is read
	)
	return nil
}

// ready returns nil once the API server answers requests and has created the namespaces
// that every cluster has. It creates them only after it reports that it is ready.
func (a *API) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return err
	}
	for _, namespace := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem} {
		if _, err := a.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func healthy(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
