package app_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
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

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/kubetrust"
	"github.com/portlease/portlease/allocator/trust"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api/client"
)

// started is the API server of the few tests here that need one; nil: none did.
var (
	started   *kubeapi.API
	startOnce sync.Once
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	code := m.Run()
	if started == nil {
		return code
	}
	if err := started.Close(); err != nil {
		_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		return 1
	}
	return code
}

// trustWorld is an installation of replicas that share a Secret, by a clock that is
// given, and one caller.
type trustWorld struct {
	*testing.T
	kube             kubernetes.Interface
	namespace, games string
	now              time.Time
	log              strings.Builder
	logger           *slog.Logger // into log
}

const tlsSecret = "portlease-tls"

func newTrustWorld(t *testing.T) *trustWorld {
	t.Helper()
	startOnce.Do(func() {
		var err error
		if started, err = kubeapi.Start(context.Background(), kubeapi.Config{Progress: os.Stderr}); err != nil {
			t.Fatal(err)
		}
	})
	if started == nil {
		t.Fatal("the API server did not start")
	}
	w := &trustWorld{T: t, now: time.Now()}
	w.logger = slog.New(slog.NewTextHandler(&w.log, nil))
	var err error
	w.kube, err = kubernetes.NewForConfig(started.AdminConfig())
	w.must(err)
	w.namespace, err = started.Namespace(t.Context(), "allocator")
	w.must(err)
	w.games, err = started.Namespace(t.Context(), "games")
	w.must(err)
	return w
}

func (w *trustWorld) must(errs ...error) {
	w.Helper()
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
}

// replica starts one more; it has not looked at the Secret yet.
func (w *trustWorld) replica() app.OwnCertificate {
	w.Helper()
	r, err := app.NewOwnCertificate(kubetrust.NewSecret(w.kube, w.namespace, tlsSecret), []string{"127.0.0.1"},
		func() time.Time { return w.now }, w.logger)
	w.must(err)
	return r
}

// keep lets a replica look until it did not lose a race.
func (w *trustWorld) keep(r app.OwnCertificate) {
	w.Helper()
	err := r.Keep(w.Context())
	for errors.Is(err, kubetrust.ErrConflict) {
		err = r.Keep(w.Context())
	}
	w.must(err)
}

// keepAtOnce lets all replicas look at the same time, each until it did not lose a
// race, and some of them do.
func (w *trustWorld) keepAtOnce(replicas []app.OwnCertificate) {
	w.Helper()
	var all sync.WaitGroup
	var lost atomic.Int32
	for _, r := range replicas {
		all.Go(func() {
			err := r.Keep(w.Context())
			for errors.Is(err, kubetrust.ErrConflict) {
				lost.Add(1)
				err = r.Keep(w.Context())
			}
			if err != nil {
				w.Error(err)
			}
		})
	}
	all.Wait()
	w.Logf("%d races were lost", lost.Load())
}

func (w *trustWorld) store() trust.Store {
	w.Helper()
	s, _, err := kubetrust.NewSecret(w.kube, w.namespace, tlsSecret).Read(w.Context())
	w.must(err)
	return s
}

// handed is what callers in a namespace are given to trust.
func (w *trustWorld) handed(namespace string) string {
	w.Helper()
	c, err := w.kube.CoreV1().ConfigMaps(namespace).Get(w.Context(), kubetrust.ConfigMap, metav1.GetOptions{})
	w.must(err)
	return c.Data[kubetrust.Certificates]
}

// server serves as a replica does.
func (w *trustWorld) server(r app.OwnCertificate) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(a http.ResponseWriter, _ *http.Request) { a.WriteHeader(http.StatusNoContent) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.Listener = tls.NewListener(s.Listener, r.TLS()) // StartTLS would serve a certificate of its own
	s.Start()
	s.URL = strings.Replace(s.URL, "http:", "https:", 1)
	w.Cleanup(s.Close)
	return s
}

// caller is an agent's client: it reads its file of certificates for each connection.
type caller struct {
	w    *trustWorld
	file string
}

func (w *trustWorld) caller(bundle string) *caller {
	c := &caller{w, filepath.Join(w.TempDir(), "ca.crt")}
	c.brought(bundle)
	return c
}

// brought is what a kubelet does with a changed ConfigMap.
func (c *caller) brought(bundle string) {
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
