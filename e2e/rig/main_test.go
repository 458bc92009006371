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
		defer rig.RemovePrograms() //nolint:errcheck // only a cache
		return m.Run()
	}))
}

// start starts a system that is checked to be empty and is gone at the end of
// the test.
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

// newPod makes a pod whose agent runs.
func newPod(t *testing.T, r *rig.Rig, name, ports string) *rig.Pod {
	t.Helper()
	p, err := r.NewPod(t.Context(), name, ports)
	must(t, err)
	must(t, p.Start())
	return p
}

// check holds the promises, and prints every log when one is broken.
func check(t *testing.T, r *rig.Rig) {
	t.Helper()
	must(t, r.Check(t.Context()))
}
