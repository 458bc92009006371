// Command cmd builds the project's container images, with buildah or docker and no
// registry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/portlease/portlease/e2e/node/images"
)

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
	archives, err := images.Build(ctx, images.All, images.Options{
		Platforms: strings.Split(*platforms, ","), To: *to, Prefix: *prefix, Tag: *tag,
	}, stderr)
	for _, a := range archives {
		fmt.Fprintln(stdout, a.Path, a.Reference, a.Platform, a.Digest)
	}
	return err
}
