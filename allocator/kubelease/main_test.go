package kubelease_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/kubeapi"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}

type portRecord = ledger.Record[ledger.Port]

// must fails the test on the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// eventually polls until the condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatal("timed out waiting until " + what)
		case <-poll.C:
		}
	}
}

func newNamespace(t *testing.T) string {
	t.Helper()
	namespace, err := cluster.Namespace(t.Context(), "ledger")
	must(t, err)
	return namespace
}

func newClient(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	kube, err := kubernetes.NewForConfig(config)
	must(t, err)
	return kube
}

// replica is one replica's access to the ledger, with its own connections.
type replica struct {
	*kubelease.Leases
	kube kubernetes.Interface
	tap  *tap
}

// open opens the ledger of a namespace as one more replica.
func open(t *testing.T, namespace string, changed func()) replica {
	t.Helper()
	return openWith(t, namespace, kubelease.Hooks{Changed: changed})
}

func openWith(t *testing.T, namespace string, hooks kubelease.Hooks) replica {
	t.Helper()
	config := cluster.AdminConfig()
	r := replica{tap: tapInto(t, config)}
	r.kube = newClient(t, config)
	r.Leases = kubelease.Open(t.Context(), r.kube, namespace, slog.New(slog.NewTextHandler(t.Output(), nil)), hooks)
	must(t, r.WaitReady(t.Context()), r.Ready())
	return r
}

// found returns a record of the cache by name, as CachedAll has it.
func found[T any](table ledger.Table[T], name string) (ledger.Record[T], bool) {
	for _, r := range table.CachedAll() {
		if r.Name == name {
			return *r, true
		}
	}
	return ledger.Record[T]{}, false
}

func freePort(n int) ledger.Port {
	return ledger.Port{LoadBalancerARN: "arn/lb", ListenerPort: n, State: ledger.Free, Epoch: "e", Generation: 1}
}
