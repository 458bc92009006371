// Package kubeapi runs a real Kubernetes API for tests and the demo: etcd and
// kube-apiserver as child processes on loopback, with RBAC, and no cluster.
//
// Everything the API server decides is real: authentication, RBAC, admission, validation,
// compare-and-swap, watches, pod-bound tokens. There are no controllers, no scheduler and
// no kubelet. The package does the little of their work that tests need: [API.Namespace]
// creates the default service account, and [API.CreatePod], [API.RunPod] and the other pod
// methods update pods as a kubelet does. Everything else stays as it is: a deleted
// namespace stays Terminating, and a pod deleted with a grace period stays until
// [API.RemovePod].
//
// Starting takes a few seconds and hundreds of megabytes. So the tests of a package share
// one API, started in TestMain, and each test uses its own namespace.
package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Config configures an API. The zero value suits most tests.
type Config struct {
	// Audit makes the API server record every request; see
	// [API.AuditEntries].
	Audit bool
	// Progress receives readable lines while etcd and kube-apiserver are being built. It
	// may be nil.
	Progress io.Writer
}

// API is a running Kubernetes API. Its methods are safe for concurrent use. None may be
// called after Close.
type API struct {
	folder   *folder
	program  string   // the kube-apiserver
	flags    []string // of the kube-apiserver
	port     *reservation
	etcd     *child
	admin    *rest.Config
	client   kubernetes.Interface
	dynamic  dynamic.Interface
	mapper   *restmapper.DeferredDiscoveryRESTMapper
	auditLog string // path; empty if Config.Audit is off

	mu     sync.Mutex
	server *child // nil while it is down
}

// Start starts an API with an empty cluster and returns once it serves. The caller must
// call Close. If the calling process is killed, the kernel kills the children (on Linux)
// and the next Start removes their files. ctx bounds the start only. Once the programs are
// built, the start also has a deadline of its own.
func Start(ctx context.Context, config Config) (_ *API, err error) {
	assets, err := Assets(ctx, config.Progress)
	if err != nil {
		return nil, err
	}
	a := &API{program: filepath.Join(assets, "kube-apiserver")}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.folder, err = makeFolder(); err != nil {
		return nil, err
	}
	if a.port, err = reservePort(); err != nil {
		return nil, err
	}
	authority, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	if err := a.prepare(authority, config); err != nil {
		return nil, err
	}
	if err := a.connect(authority); err != nil {
		return nil, err
	}
	if err := a.startEtcd(ctx, filepath.Join(assets, "etcd")); err != nil {
		return nil, err
	}
	if err := a.Up(ctx); err != nil {
		return nil, err
	}
	if err := a.createDefaults(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// connect creates the clients that the package itself uses.
func (a *API) connect(authority *Authority) error {
	admin, err := authority.Client("admin", "system:masters")
	if err != nil {
		return err
	}
	a.admin = &rest.Config{
		Host: "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port.port)),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   authority.PEM,
			CertData: admin.Certificate,
			KeyData:  admin.Key,
		},
		QPS: -1, // no client-side limit
	}
	client, err := kubernetes.NewForConfig(a.admin)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	a.client = client
	if a.dynamic, err = dynamic.NewForConfig(a.admin); err != nil {
		return fmt.Errorf("making a dynamic client: %w", err)
	}
	a.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	return nil
}

// Close kills both processes and removes all their files.
func (a *API) Close() error {
	err := a.Down()
	if a.etcd != nil {
		err = errors.Join(err, a.etcd.kill())
	}
	if a.port != nil {
		err = errors.Join(err, a.port.release())
	}
	if a.folder != nil {
		err = errors.Join(err, a.folder.remove())
	}
	return err
}

// Pause makes the API server behave like a hung process or a broken network. It accepts
// connections but answers nothing until Resume.
func (a *API) Pause() error { return a.whileUp((*child).pause) }

// Resume continues a paused API server.
func (a *API) Resume() error { return a.whileUp((*child).resume) }

func (a *API) whileUp(do func(*child) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		return errors.New("the API server is down")
	}
	return do(a.server)
}

// Restart kills the API server and starts it again with the same address and objects. It
// returns once the new server is ready.
func (a *API) Restart(ctx context.Context) error {
	if err := a.Down(); err != nil {
		return err
	}
	return a.Up(ctx)
}

// Down kills the API server if it is up. Its address refuses connections until Up.
func (a *API) Down() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		return nil
	}
	if err := a.server.kill(); err != nil {
		return err
	}
	a.server = nil
	return nil
}

// Up starts the API server if it is down, and returns once it is ready.
func (a *API) Up(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		return nil
	}
	server, err := startChild(a.program, a.folder.file("kube-apiserver.log"), a.flags...)
	if err != nil {
		return err
	}
	if err := await(ctx, server, a.ready); err != nil {
		return errors.Join(err, server.kill())
	}
	a.server = server
	return nil
}

// startDeadline bounds how long a process may take to become ready. It is generous, for
// busy machines.
const startDeadline = 2 * time.Minute

// await polls until ready succeeds, the child ends or the deadline passes.
func await(ctx context.Context, c *child, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return c.withLog(fmt.Errorf("ended before it served: %w", c.exit))
		case <-ctx.Done():
			return c.withLog(fmt.Errorf("does not serve: %w (%w)", err, context.Cause(ctx)))
		case <-poll.C:
		}
	}
}
