package flock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi/flock"
)

func TestWaitingForALockHeedsItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := flock.Try(path, os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	waited := 0
	if _, err := flock.Wait(ctx, path, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) || waited != 1 {
		t.Errorf("second lock: %v, told %d times, want %v, told once", err, waited, context.DeadlineExceeded)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := flock.Wait(t.Context(), path, func() { t.Error("waits for a free lock") })
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
