package kubeapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// assetsVariable names a folder with etcd and kube-apiserver, as it does for
// controller-runtime's envtest.
const assetsVariable = "KUBEBUILDER_ASSETS"

// built is the one program that acts as each of programs, by links to it.
const built = "server"

var (
	required = []string{"etcd", "kube-apiserver"}
	programs = append([]string{"kubectl"}, required...)
)

// Assets returns a folder that holds etcd and kube-apiserver.
//
// If KUBEBUILDER_ASSETS is set that is the folder, and one that lacks either
// program is an error. Otherwise both, and kubectl, are built from their Go
// modules into the user's cache folder, once for each Go version and version
// of Kubernetes; processes that ask meanwhile wait for that one build. The
// build takes minutes and tells progress, if not nil, how it is getting on.
func Assets(ctx context.Context, progress io.Writer) (dir string, err error) {
	if progress == nil {
		progress = io.Discard
	}
	if dir := os.Getenv(assetsVariable); dir != "" {
		return dir, complete(dir)
	}
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	key, err := cacheKey(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return once(ctx, filepath.Join(cache, "portlease"), "kubeapi-"+key, progress, func(dir string) error {
		return build(ctx, source, dir, progress)
	})
}

// complete reports what a folder named by KUBEBUILDER_ASSETS lacks.
func complete(dir string) error {
	for _, program := range required {
		_, err := exec.LookPath(filepath.Join(dir, program))
		if err != nil {
			return fmt.Errorf("%s=%s has no %s (%w): name a folder that holds %s, or unset it to have them built",
				assetsVariable, dir, program, err, strings.Join(required, " and "))
		}
	}
	return nil
}

// sourceDir finds the nested module that the programs are built from: beside
// this file or, if the paths were trimmed from the running program, in the
// checkout that the working directory lies in.
func sourceDir() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		source := filepath.Join(filepath.Dir(file), "server")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
	}
	return sourceAbove(".")
}

func sourceAbove(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the sources of the API server: %w", err)
	}
	for {
		source := filepath.Join(dir, "e2e", "kubeapi", "server")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("finding the sources of the API server: run this inside a checkout of portlease, or set %s", assetsVariable)
		}
		dir = parent
	}
}

// cacheKey changes with everything the programs are built from.
func cacheKey(source string) (string, error) {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return "", fmt.Errorf("listing the sources of the API server: %w", err)
	}
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, buildArguments)
	for _, file := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the sources of the API server: %w", err)
		}
		fmt.Fprintln(hash, filepath.Base(file), len(content))
		hash.Write(content)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}

// once returns the folder name inside cache, and lets fill fill it if it does
// not exist. Of several processes that ask at once one fills and the others
// wait. The folder appears whole or not at all.
func once(ctx context.Context, cache, name string, progress io.Writer, fill func(dir string) error) (_ string, err error) {
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	lock, err := lock(ctx, filepath.Join(cache, "kubeapi.lock"), func() {
		fmt.Fprintln(progress, "kubeapi: waiting for another process that builds etcd and kube-apiserver")
	})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Whoever left such a folder behind was killed: this process has the lock.
	leftovers, err := filepath.Glob(filepath.Join(cache, "building-*"))
	if err != nil {
		return "", fmt.Errorf("listing unfinished builds: %w", err)
	}
	for _, leftover := range leftovers {
		if err := os.RemoveAll(leftover); err != nil {
			return "", fmt.Errorf("removing an unfinished build: %w", err)
		}
	}
	unfinished, err := os.MkdirTemp(cache, "building-*")
	if err != nil {
		return "", fmt.Errorf("making a folder to build in: %w", err)
	}
	if err := fill(unfinished); err != nil {
		return "", errors.Join(err, os.RemoveAll(unfinished))
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return "", fmt.Errorf("putting the build in its place: %w", err)
	}
	return dir, nil
}
