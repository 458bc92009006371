package kubeapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// kubernetesVersion is what the programs say they are. It is the version that
// the nested module requires, and a test compares the two: a program that was
// not built by Kubernetes' own scripts does not know it by itself.
const kubernetesVersion = "v1.37.2"

// buildArguments stay the same from one build to the next: with others the go
// tool's build cache would not help.
var buildArguments = []string{"build", "-buildvcs=false", "-ldflags", linkerFlags()}

// buildEnvironment makes the go tool see the nested module alone, whatever
// flags and workspace the caller's module uses.
var buildEnvironment = []string{"GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0", "GOOS=", "GOARCH="}

func linkerFlags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(kubernetesVersion, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	flags := []string{"-s", "-w"}
	for _, variables := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X", variables+".gitVersion="+kubernetesVersion,
			"-X", variables+".gitMajor="+major,
			"-X", variables+".gitMinor="+minor,
			"-X", variables+".gitTreeState=clean")
	}
	return strings.Join(flags, " ")
}

// build builds the nested module at source into dir and links each program's
// name to the result.
func build(ctx context.Context, source, dir string, progress io.Writer) error {
	fmt.Fprintf(progress, "kubeapi: building etcd and kube-apiserver %s from their Go modules, once; this takes about 5 minutes\n", kubernetesVersion)
	start := time.Now()
	cmd := exec.CommandContext(ctx, "go", slices.Concat(buildArguments, []string{"-o", filepath.Join(dir, built), "."})...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), buildEnvironment...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	sign := time.NewTicker(20 * time.Second)
	defer sign.Stop()
	for {
		select {
		case <-sign.C:
			fmt.Fprintf(progress, "kubeapi: … %v\n", time.Since(start).Round(time.Second))
			continue
		case err := <-done:
			if err != nil {
				return fmt.Errorf("building etcd and kube-apiserver: %w\n%s", err, output.Bytes())
			}
		}
		break
	}
	for _, program := range programs {
		if err := os.Symlink(built, filepath.Join(dir, program)); err != nil {
			return fmt.Errorf("naming the programs: %w", err)
		}
	}
	fmt.Fprintf(progress, "kubeapi: built in %v\n", time.Since(start).Round(time.Second))
	return nil
}
