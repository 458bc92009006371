// Package images builds container images from Dockerfiles, with no registry: the
// programs are built here and take the place of the Dockerfiles' first stage, so
// that no base image is pulled. Each image ends as an OCI archive, which ctr, skopeo,
// podman and docker load. Same commit and toolchain, same digest.
package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Image is one Dockerfile and the programs that it copies into an image.
type Image struct {
	Name       string // and of its archive
	Dockerfile string
	Programs   []string // packages, each named as its program
	Largest    int64    // bytes of its programs; 0: whatever they have
}

// All are the project's images. The agent's is paid for once on every node and
// counts for how fast a pod starts.
var All = []Image{
	{Name: "allocator", Dockerfile: "Dockerfile.allocator", Programs: []string{"./allocator"}},
	{Name: "agent", Dockerfile: "Dockerfile.agent", Programs: []string{"./agent"}, Largest: 18e6},
	{Name: "examples", Dockerfile: "examples/Dockerfile", Programs: []string{"./examples/udp-echo", "./examples/tcp-echo"}},
}

// Options say what becomes of the images. All are needed.
type Options struct {
	Platforms []string // each os/architecture
	To        string   // folder for the archives
	Prefix    string   // what the images' names begin with
	Tag       string
}

// Archive is an image as a file.
type Archive struct {
	Path, Reference, Platform string
	// Digest is the image's name in every registry.
	Digest string
}

// Build builds images in the folder of the module and tells progress how it gets
// on. It takes buildah or docker, whichever is there, and says what to do if
// neither is.
func Build(ctx context.Context, list []Image, o Options, progress io.Writer) ([]Archive, error) {
	b, err := findBuilder(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.To, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for the archives: %w", err)
	}
	var archives []Archive
	for _, platform := range o.Platforms {
		for _, i := range list {
			fmt.Fprintf(progress, "images: %s for %s, with %s …\n", i.Name, platform, b.name())
			j := job{Image: i, Archive: Archive{
				Platform: platform, Reference: o.Prefix + "/" + i.Name + ":" + o.Tag,
				Path: filepath.Join(o.To, i.Name+"-"+strings.ReplaceAll(platform, "/", "-")+".tar"),
			}}
			if err := inFolder(func(folder string) error {
				j.folder = folder
				if err := j.buildPrograms(ctx); err != nil {
					return err
				}
				return b.build(ctx, j)
			}); err != nil {
				return nil, err
			}
			if j.Digest, err = digestOf(j.Path); err != nil {
				return nil, err
			}
			archives = append(archives, j.Archive)
		}
	}
	return archives, nil
}

// job is one image for one platform.
type job struct {
	Image
	Archive
	folder string // of its programs
}

// inFolder does something with a folder of its own, which is gone afterwards.
func inFolder(do func(folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "portlease-images-")
	if err != nil {
		return fmt.Errorf("making a folder to work in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return do(folder)
}

// buildPrograms builds what the Dockerfile's first stage would, in the same way.
func (j job) buildPrograms(ctx context.Context) error {
	system, architecture, ok := strings.Cut(j.Platform, "/")
	if !ok {
		return fmt.Errorf("platform %q is not os/architecture, such as linux/arm64", j.Platform)
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w", "-o", j.folder + "/"}, j.Programs...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+architecture)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s for %s: %w\n%s", j.Name, j.Platform, err, out)
	}
	var size int64
	for _, p := range j.Programs {
		f, err := os.Stat(filepath.Join(j.folder, filepath.Base(p)))
		if err != nil {
			return fmt.Errorf("looking at what was built: %w", err)
		}
		size += f.Size()
	}
	if j.Largest > 0 && size > j.Largest {
		return fmt.Errorf("the programs of image %s have %d bytes for %s, at most %d are wanted", j.Name, size, j.Platform, j.Largest)
	}
	return nil
}
