package main

import (
	"io/fs"
	"strings"
)

// onlyTree is a module's tree without what begins with a dot.
type onlyTree struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (t onlyTree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.FS, name)
	var rest []fs.DirEntry
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") || e.Name() == "." {
			rest = append(rest, e)
		}
	}
	return rest, err
}
