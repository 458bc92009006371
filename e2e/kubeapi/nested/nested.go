// Package nested builds the programs of this checkout's nested modules, once, into
// the user's cache folder. Such a module is a module of its own so that what its
// programs depend on, which is a lot, is not what portlease depends on.
package nested

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Module is a nested module and how it is built.
type Module struct {
	// Name begins every line of progress and every name in the cache folder.
	Name string
	// Folder is the module's, from the root of the checkout, with slashes.
	Folder string
	// Package is what is built; empty: the one in Folder.
	Package string
	// Flags are given to go build. They stay the same from one build to the next:
	// with others the go tool's build cache would not help.
	Flags []string
	// Program is the name of the result.
	Program string
	// Links are more names of it, by which it may tell what to be.
	Links []string
	// Announced is what people are told is being built, and how long that takes.
	Announced string
	// Instead is what else one can do where there is no checkout; empty: nothing.
	Instead string
}

// Build returns the folder with the module's program in the user's cache folder,
// and builds it first if it is not there: once for each Go version and each version
// of the sources. Processes that ask meanwhile wait for that one build. It tells
// progress how it is getting on.
func (m Module) Build(ctx context.Context, progress io.Writer) (dir string, err error) {
	source, err := m.source()
	if err != nil {
		return "", err
	}
	key, err := m.key(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return m.once(ctx, filepath.Join(cache, "portlease"), key, progress, func(dir string) error {
		return m.build(ctx, source, dir, progress)
	})
}

func (m Module) arguments() []string { return slices.Concat([]string{"build"}, m.Flags) }

// source finds the module: in the checkout that this file lies in or, if the paths
// were trimmed from the running program, in the one that the working directory
// lies in.
func (m Module) source() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if source, err := m.above(filepath.Dir(file)); err == nil {
			return source, nil
		}
	}
	return m.above(".")
}

func (m Module) above(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the sources of %s: %w", m.Program, err)
	}
	for {
		source := filepath.Join(dir, filepath.FromSlash(m.Folder))
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			remedy := "run this inside a checkout of portlease"
			if m.Instead != "" {
				remedy += ", or " + m.Instead
			}
			return "", fmt.Errorf("finding the sources of %s: %s", m.Program, remedy)
		}
		dir = parent
	}
}

// key changes with everything the program is built from.
func (m Module) key(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, m.arguments())
	fmt.Fprint(hash, m.Package)
	err := filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".go", ".mod", ".sum"}, filepath.Ext(file)) {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(source, file)
		fmt.Fprintln(hash, name, len(content))
		hash.Write(content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the sources of %s: %w", m.Program, err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}
