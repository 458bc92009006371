package kubeapi

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

// Program is built once from a nested module of this checkout, into the user's cache
// folder. The nested module keeps its many dependencies out of portlease's go.mod.
type Program struct {
	// Name prefixes every progress line and every name in the cache folder.
	Name string
	// Folder is the module's folder relative to the root of the checkout, with slashes.
	Folder string
	// Package is the package to build; empty means the one in Folder.
	Package string
	// Flags are passed to go build. They must be the same for every build; otherwise the
	// go command's build cache is useless.
	Flags []string
	// Binary is the file name of the result.
	Binary string
	// Links are additional names of the binary, which acts according to its name.
	Links []string
	// Description tells people what is being built and how long that takes.
	Description string
	// Remedy is the alternative that an error suggests if there is no checkout; may be
	// empty.
	Remedy string
}

// Build returns the folder with the binary in the user's cache folder. It builds the
// binary first if it is missing: once per Go version and version of the sources.
// Concurrent processes wait for one build. Progress is reported line by line.
func (p Program) Build(ctx context.Context, progress io.Writer) (dir string, err error) {
	source, err := p.source()
	if err != nil {
		return "", err
	}
	key, err := p.key(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return p.buildOnce(ctx, filepath.Join(cache, "portlease"), key, progress, func(dir string) error {
		return p.buildIn(ctx, source, dir, progress)
	})
}

func (p Program) arguments() []string { return slices.Concat([]string{"build"}, p.Flags) }

// source finds the module's folder in the checkout that contains this file. If the
// running program was built with -trimpath, it looks above the working directory.
func (p Program) source() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if source, err := p.sourceAbove(filepath.Dir(file)); err == nil {
			return source, nil
		}
	}
	return p.sourceAbove(".")
}

func (p Program) sourceAbove(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the sources of %s: %w", p.Binary, err)
	}
	for {
		source := filepath.Join(dir, filepath.FromSlash(p.Folder))
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			remedy := "run this inside a checkout of portlease"
			if p.Remedy != "" {
				remedy += ", or " + p.Remedy
			}
			return "", fmt.Errorf("finding the sources of %s: %s", p.Binary, remedy)
		}
		dir = parent
	}
}

// key returns a hash that changes with everything that the binary is built from.
func (p Program) key(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, p.arguments())
	fmt.Fprint(hash, p.Package)
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
		return "", fmt.Errorf("reading the sources of %s: %w", p.Binary, err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}
