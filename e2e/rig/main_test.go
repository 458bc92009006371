package rig_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

// kube is the API server that all tests of this package share.
var kube *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{Audit: true}, func(k *kubeapi.API) int {
		kube = k
		defer rig.RemovePrograms() //nolint:errcheck // the programs are only a cache
		return m.Run()
	}))
}

// start starts a system. When the test ends, start checks that nothing is left over
// and stops the system.
func start(t *testing.T, c rig.Config) *rig.Rig {
	t.Helper()
	c.Kube, c.Output = kube, t.Output()
	r, err := rig.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if t.Failed() {
			r.DumpLogs()
		}
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// must fails the test on the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newPod creates a pod and starts its agent.
func newPod(t *testing.T, r *rig.Rig, name, ports string) *rig.Pod {
	t.Helper()
	p, err := r.NewPod(t.Context(), name, ports)
	must(t, err)
	must(t, p.Start())
	return p
}

// check checks the invariants, and prints all logs when one is violated.
func check(t *testing.T, r *rig.Rig) {
	t.Helper()
	must(t, r.Check(t.Context()))
}
