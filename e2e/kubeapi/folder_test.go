package kubeapi

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestAbandonedFoldersAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	inUse, err := makeFolder()
	if err != nil {
		t.Fatal(err)
	}
	abandoned, err := makeFolder()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(abandoned.file("etcd.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := abandoned.lock.Close(); err != nil { // as the kernel does for a killed process
		t.Fatal(err)
	}
	last, err := makeFolder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abandoned.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the abandoned folder: %v, want %v", err, fs.ErrNotExist)
	}
	for _, f := range []*folder{inUse, last} {
		if _, err := os.Stat(f.path); err != nil {
			t.Errorf("a folder in use: %v", err)
		}
		if err := f.remove(); err != nil {
			t.Error(err)
		}
	}
	expectEmpty(t, os.TempDir())
}
