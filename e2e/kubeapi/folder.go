package kubeapi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/portlease/portlease/e2e/kubeapi/flock"
)

const (
	folderPrefix = "kubeapi-"
	folderLock   = "portlease.lock"
)

// folder is a temporary folder. If its process is killed before it can remove
// it, the next one does: the lock inside it is held for as long as the process
// lives.
type folder struct {
	path string
	lock *os.File
}

// makeFolder makes an empty folder that no other user can enter, and removes
// those of processes that are gone.
func makeFolder() (*folder, error) {
	if err := removeAbandoned(); err != nil {
		return nil, err
	}
	// Made under another name, so that no folder with the prefix is ever
	// seen unlocked while its process lives.
	unlocked, err := os.MkdirTemp("", "new-"+folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the API server: %w", err)
	}
	lock, err := flock.Try(filepath.Join(unlocked, folderLock), os.O_CREATE)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(unlocked))
	}
	path := filepath.Join(filepath.Dir(unlocked), strings.TrimPrefix(filepath.Base(unlocked), "new-"))
	if err := os.Rename(unlocked, path); err != nil {
		return nil, errors.Join(fmt.Errorf("naming the folder for the API server: %w", err), lock.Close(), os.RemoveAll(unlocked))
	}
	return &folder{path: path, lock: lock}, nil
}

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

func (f *folder) remove() error {
	if err := errors.Join(os.RemoveAll(f.path), f.lock.Close()); err != nil {
		return fmt.Errorf("removing the folder of the API server: %w", err)
	}
	return nil
}

func removeAbandoned() error {
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*", folderLock))
	if err != nil {
		return fmt.Errorf("listing the folders of other API servers: %w", err)
	}
	for _, path := range locks {
		lock, err := flock.Try(path, 0) // never into a folder that is being removed
		if errors.Is(err, flock.ErrLocked) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // in use, or removed by another process just now, or another user's
		}
		if err != nil {
			return err
		}
		abandoned := folder{path: filepath.Dir(path), lock: lock}
		if err := abandoned.remove(); err != nil {
			return err
		}
	}
	return nil
}
