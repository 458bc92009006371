package kubeapi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

const (
	folderPrefix = "kubeapi-"
	folderLock   = "portlease.lock"
)

// folder is a temporary folder, locked while its process lives. If the process is killed
// before it removes the folder, the next process removes it.
type folder struct {
	path string
	lock *flock.Flock
}

// makeFolder creates an empty folder that other users cannot enter. It also removes the
// folders of processes that have ended.
func makeFolder() (*folder, error) {
	if err := removeAbandoned(); err != nil {
		return nil, err
	}
	// The folder gets its final name only after it is locked. Otherwise another process
	// could mistake it for an abandoned folder.
	unlocked, err := os.MkdirTemp("", "new-"+folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the API server: %w", err)
	}
	lock := flock.New(filepath.Join(unlocked, folderLock))
	if _, err := lock.TryLock(); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the folder for the API server: %w", err), os.RemoveAll(unlocked))
	}
	path := filepath.Join(filepath.Dir(unlocked), strings.TrimPrefix(filepath.Base(unlocked), "new-"))
	if err := os.Rename(unlocked, path); err != nil {
		return nil, errors.Join(fmt.Errorf("renaming the folder for the API server: %w", err), lock.Close(), os.RemoveAll(unlocked))
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
		lock := flock.New(path, flock.SetFlag(os.O_RDONLY)) // does not create a file in a folder that is being removed
		locked, err := lock.TryLock()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || err == nil && !locked {
			continue // in use, another user's, or just removed by another process
		}
		if err != nil {
			return fmt.Errorf("locking an abandoned folder: %w", err)
		}
		abandoned := folder{path: filepath.Dir(path), lock: lock}
		if err := abandoned.remove(); err != nil {
			return err
		}
	}
	return nil
}
