package kubeapi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// shared is the API of all tests that leave it unchanged.
var shared *API

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	if filepath.Base(os.Args[0]) == "etcd" {
		return failingEtcd()
	}
	if os.Getenv(orphanVariable) != "" {
		return startAndWaitToBeKilled(ctx)
	}
	var err error
	if shared, err = Start(ctx, Config{Audit: true, Progress: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// orphanVariable makes the test binary start an API and wait to be killed.
const orphanVariable = "KUBEAPI_TEST_ORPHAN"

func startAndWaitToBeKilled(ctx context.Context) int {
	api, err := Start(ctx, Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(api.etcd.process.Pid, api.server.process.Pid)
	select {}
}

// eventually polls until the condition returns nil.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	if err := Eventually(t.Context(), 30*time.Second, "the condition", condition); err != nil {
		t.Fatal(err)
	}
}

func newClient(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func newNamespace(t *testing.T) string {
	t.Helper()
	prefix := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	namespace, err := shared.Namespace(t.Context(), prefix[:min(len(prefix), 40)])
	if err != nil {
		t.Fatal(err)
	}
	return namespace
}
