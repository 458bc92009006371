//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/node/images"
)

// The names of the images are those in the chart and the examples.
const (
	imagePrefix = "ghcr.io/portlease"
	imageTag    = "0.1.0"
	pauseImage  = imagePrefix + "/pause:" + imageTag
)

var coreDNS = kubeapi.Program{
	Name:        "coredns",
	Folder:      "e2e/node/coredns",
	Flags:       []string{"-buildvcs=false", "-ldflags", "-s -w"},
	Binary:      "coredns",
	Description: "CoreDNS from its Go modules, once; this takes about 3 minutes",
}

// prepare builds or finds all programs and images, outside of any namespace. Images
// are in the run's own folder. A restarted node reads them again, and a concurrent
// build must not change them.
func (p *plan) prepare(ctx context.Context, progress io.Writer) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	cache = filepath.Join(cache, "portlease")
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return fmt.Errorf("making the cache folder: %w", err)
	}
	if p.Tools, err = findTools(ctx, cache, progress); err != nil {
		return err
	}
	if p.Programs, err = kubeapi.NodePrograms.Build(ctx, progress); err != nil {
		return err
	}
	folder, err := coreDNS.Build(ctx, progress)
	if err != nil {
		return err
	}
	p.CoreDNS = filepath.Join(folder, coreDNS.Binary)
	if p.Helm, err = chart.Program(ctx, progress); err != nil {
		return err
	}
	// The image builder is among the tools.
	if err := p.Tools.use(); err != nil {
		return err
	}
	pause := images.Image{Name: "pause", Dockerfile: "e2e/node/pause/Dockerfile", Programs: []string{"./e2e/node/pause"}}
	archives, err := images.Build(ctx, append(slices.Clone(images.All), pause), images.Options{
		Platforms: []string{"linux/" + runtime.GOARCH}, To: p.file("images"), Prefix: imagePrefix, Tag: imageTag,
	}, progress)
	for _, a := range archives {
		p.Images = append(p.Images, a.Path)
	}
	return err
}
