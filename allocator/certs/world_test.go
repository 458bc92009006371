package certs_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/certs"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/certs/pki"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api/client"
)

// server is the API server of the tests that need one.
var server kubeapi.Lazy

func TestMain(m *testing.M) { os.Exit(server.Main(m.Run)) }

// world is an installation of replicas that share a Secret and a fake clock.
type world struct {
	*testing.T
	cluster          *kubeapi.API
	kube             kubernetes.Interface
	namespace, games string
	now              time.Time
	log              strings.Builder
	logger           *slog.Logger // into log
}

const tlsSecret = "portlease-tls"

func newWorld(t *testing.T) *world {
	t.Helper()
	cluster, err := server.Get()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, cluster: cluster, now: time.Now()}
	w.logger = slog.New(slog.NewTextHandler(&w.log, nil))
	w.kube, err = kubernetes.NewForConfig(cluster.AdminConfig())
	w.must(err)
	w.namespace, err = cluster.Namespace(t.Context(), "allocator")
	w.must(err)
	w.games, err = cluster.Namespace(t.Context(), "games")
	w.must(err)
	return w
}

func (w *world) must(errs ...error) {
	w.Helper()
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
}

// replica starts one more; it has not read the Secret yet.
func (w *world) replica() *certs.Managed {
	w.Helper()
	r, err := certs.NewManaged(kubecerts.NewSecret(w.kube, w.namespace, tlsSecret), []string{"127.0.0.1"},
		func() time.Time { return w.now }, w.logger)
	w.must(err)
	return r
}

// sync lets a replica sync until it does not lose a race.
func (w *world) sync(r *certs.Managed) {
	w.Helper()
	err := r.Sync(w.Context())
	for errors.Is(err, kubecerts.ErrConflict) {
		err = r.Sync(w.Context())
	}
	w.must(err)
}

// syncAtOnce lets all replicas sync at the same time, each until it does not lose a race.
// Some of them do.
func (w *world) syncAtOnce(replicas []*certs.Managed) {
	w.Helper()
	var all sync.WaitGroup
	var lost atomic.Int32
	for _, r := range replicas {
		all.Go(func() {
			err := r.Sync(w.Context())
			for errors.Is(err, kubecerts.ErrConflict) {
				lost.Add(1)
				err = r.Sync(w.Context())
			}
			if err != nil {
				w.Error(err)
			}
		})
	}
	all.Wait()
	w.Logf("%d races were lost", lost.Load())
}

func (w *world) keySet() pki.KeySet {
	w.Helper()
	s, _, err := kubecerts.NewSecret(w.kube, w.namespace, tlsSecret).Read(w.Context())
	w.must(err)
	return s
}

// published is the trust bundle of a namespace.
func (w *world) published(namespace string) string {
	w.Helper()
	c, err := w.kube.CoreV1().ConfigMaps(namespace).Get(w.Context(), kubecerts.ConfigMap, metav1.GetOptions{})
	w.must(err)
	return c.Data[kubecerts.Certificates]
}

// server serves as a replica does.
func (w *world) server(r *certs.Managed) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(a http.ResponseWriter, _ *http.Request) { a.WriteHeader(http.StatusNoContent) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.Listener = tls.NewListener(s.Listener, &tls.Config{GetCertificate: r.GetCertificate, MinVersion: tls.VersionTLS12}) // StartTLS would serve a certificate of its own
	s.Start()
	s.URL = strings.Replace(s.URL, "http:", "https:", 1)
	w.Cleanup(s.Close)
	return s
}

// caller is an agent's client: it reads its file of certificates for each connection.
type caller struct {
	w    *world
	file string
}

func (w *world) caller(bundle string) *caller {
	c := &caller{w, filepath.Join(w.TempDir(), "ca.crt")}
	c.refresh(bundle)
	return c
}

// refresh is what a kubelet does with a changed ConfigMap.
func (c *caller) refresh(bundle string) {
	c.w.Helper()
	c.w.must(os.WriteFile(c.file, []byte(bundle), 0o600))
}

// call renews a claim once, by a new connection.
func (c *caller) call(s *httptest.Server) error {
	one, err := client.New(client.Config{URL: s.URL, CAFile: c.file})
	if err != nil {
		return err
	}
	return one.Finish(c.w.Context(), "games", "game-0", "claim", nil)
}

// publish updates the ConfigMaps once and gives how many namespaces are outdated.
func (w *world) publish(r *certs.Managed, callerNamespaces ...string) (outdated int) {
	return certs.NewPublisher(certs.PublisherConfig{
		Trust: kubecerts.NewTrust(w.kube, w.namespace), ConfigMaps: kubecerts.ConfigMaps{Client: w.kube},
		Namespaces:     append([]string{w.namespace}, callerNamespaces...),
		CACertificates: r.CACertificates, Now: func() time.Time { return w.now }, Log: w.logger,
	}).Publish(w.Context())
}
