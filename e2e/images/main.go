// Command images builds the project's container images from its Dockerfiles, with
// no registry: the programs are built here and take the place of the Dockerfiles'
// first stage, so that no base image is pulled. Each image ends as an OCI archive,
// which ctr, skopeo, podman and docker load. Same commit and toolchain, same digest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// image is one Dockerfile and the programs that it copies into an image.
type image struct {
	name       string // and of its archive
	dockerfile string
	programs   []string // packages, each named as its program
	largest    int64    // bytes of its programs, 0: whatever they have
}

// images are all there are. The agent's is paid for once on every node and counts
// for how fast a pod starts.
var images = []image{
	{name: "allocator", dockerfile: "Dockerfile.allocator", programs: []string{"./allocator"}},
	{name: "agent", dockerfile: "Dockerfile.agent", programs: []string{"./agent"}, largest: 18e6},
	{name: "examples", dockerfile: "examples/Dockerfile", programs: []string{"./examples/udp-echo", "./examples/tcp-echo"}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(stderr)
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "platforms to build for, separated by commas")
	to := flags.String("to", "bin/images", "folder for the archives")
	prefix := flags.String("prefix", "portlease", "what the images' names begin with, such as registry.example.com/portlease")
	tag := flags.String("tag", "latest", "the images' tag")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b, err := findBuilder(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*to, 0o755); err != nil {
		return fmt.Errorf("making the folder for the archives: %w", err)
	}
	for platform := range strings.SplitSeq(*platforms, ",") {
		for _, i := range images {
			fmt.Fprintf(stderr, "images: %s for %s, with %s …\n", i.name, platform, b.name())
			j := job{
				image: i, platform: platform, reference: *prefix + "/" + i.name + ":" + *tag,
				archive: filepath.Join(*to, i.name+"-"+strings.ReplaceAll(platform, "/", "-")+".tar"),
			}
			if err := inFolder(func(folder string) error {
				j.folder = folder
				if err := j.buildPrograms(ctx); err != nil {
					return err
				}
				return b.build(ctx, j)
			}); err != nil {
				return err
			}
			digest, err := digestOf(j.archive)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s %s %s %s\n", j.archive, j.reference, platform, digest)
		}
	}
	return nil
}

// job is one image for one platform.
type job struct {
	image
	platform  string // os/architecture
	folder    string // of its programs
	reference string
	archive   string
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
	system, architecture, ok := strings.Cut(j.platform, "/")
	if !ok {
		return fmt.Errorf("platform %q is not os/architecture, such as linux/arm64", j.platform)
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w", "-o", j.folder + "/"}, j.programs...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+architecture)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s for %s: %w\n%s", j.name, j.platform, err, out)
	}
	var size int64
	for _, p := range j.programs {
		f, err := os.Stat(filepath.Join(j.folder, filepath.Base(p)))
		if err != nil {
			return fmt.Errorf("looking at what was built: %w", err)
		}
		size += f.Size()
	}
	if j.largest > 0 && size > j.largest {
		return fmt.Errorf("the programs of image %s have %d bytes for %s, at most %d are wanted", j.name, size, j.platform, j.largest)
	}
	return nil
}
