// Package flock locks files between processes. The kernel gives a lock back when
// its process ends, however that happens.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrLocked is returned by Try while another process or goroutine has the lock.
var ErrLocked = errors.New("locked by another process")

// Try takes the lock file, making it if flag is os.O_CREATE. To close the
// file is to give the lock back; the kernel does so when the process ends.
func Try(path string, flag int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking the lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

// Wait takes the lock file, making it if need be, and waits for it until ctx
// ends; waiting is called once if it has to.
func Wait(ctx context.Context, path string, waiting func()) (*os.File, error) {
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for told := false; ; {
		file, err := Try(path, os.O_CREATE)
		if !errors.Is(err, ErrLocked) {
			return file, err
		}
		if !told {
			waiting()
			told = true
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, context.Cause(ctx))
		}
	}
}
