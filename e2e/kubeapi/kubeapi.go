// Package kubeapi runs a real Kubernetes API for tests and the demo: etcd and
// kube-apiserver as child processes on loopback, with RBAC, and no cluster.
//
// Everything the API server decides is real: authentication, RBAC, admission,
// validation, compare-and-swap, watches, pod-bound tokens. There is no
// controller, scheduler or kubelet behind it. The package plays what little of
// them is needed: [API.Namespace] makes the default service account, and
// [API.CreatePod], [API.RunPod] and their siblings move pods as a kubelet does.
// Nothing else happens by itself: a deleted namespace stays Terminating, and a
// pod deleted with a grace period stays until [API.RemovePod].
//
// Starting takes a few seconds and hundreds of megabytes, so the tests of a
// package share one API, started in TestMain, and use namespaces of their own.
package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

// Config says how to start an API. The zero value is good for most tests.
type Config struct {
	// Audit makes the API server record every request; see
	// [API.AuditEntries].
	Audit bool
	// Progress is told, in lines for people, when etcd and kube-apiserver
	// have to be built first. Nil tells nobody.
	Progress io.Writer
}

// API is a running Kubernetes API. Its methods may be called concurrently, but
// nothing may be called after Close.
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

// Main starts the API that the tests of one package share, runs them and closes
// it. It returns what TestMain hands to os.Exit.
func Main(config Config, run func(*API) int) int {
	config.Progress = os.Stderr
	k, err := Start(context.Background(), config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := run(k)
	if err := k.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Start starts an API that nobody has used yet and returns once it serves. The
// caller closes it; if the calling process is killed instead, the kernel kills
// the children (on Linux) and the next Start removes their files. ctx bounds
// the start alone, which has a deadline of its own once the programs are built.
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
	if err := a.furnish(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// connect makes the clients that the package itself uses.
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
		QPS: -1, // no limit: the API server has limits of its own
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

// Close stops both processes at once and removes everything they wrote.
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

// Pause stops the API server as a hung process or a lost network would: it
// accepts connections and answers nothing, until Resume.
func (a *API) Pause() error { return a.whileUp((*child).pause) }

// Resume lets a paused API server go on where it was.
func (a *API) Resume() error { return a.whileUp((*child).resume) }

func (a *API) whileUp(do func(*child) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		return errors.New("the API server is down")
	}
	return do(a.server)
}

// Restart kills the API server and starts it again, on the same address and
// with the same objects. It returns once the new one serves.
func (a *API) Restart(ctx context.Context) error {
	if err := a.Down(); err != nil {
		return err
	}
	return a.Up(ctx)
}

// Down kills the API server, if it is up. Its address refuses connections
// until Up.
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

// Up starts the API server, if it is down, and returns once it serves.
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

// startDeadline is how long a process may take until it serves: many times
// what it needs, for machines that are busy.
const startDeadline = 2 * time.Minute

// await polls until ready says yes or the child ends or time is up.
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
			return c.failed(fmt.Errorf("ended before it served: %w", c.exit))
		case <-ctx.Done():
			return c.failed(fmt.Errorf("does not serve: %w (%w)", err, context.Cause(ctx)))
		case <-poll.C:
		}
	}
}
