package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// builder is a program that builds images from Dockerfiles.
type builder interface {
	name() string
	build(context.Context, job) error
}

// findBuilder prefers buildah, which needs no service that runs.
func findBuilder(ctx context.Context) (builder, error) {
	if path, err := exec.LookPath("buildah"); err == nil {
		return buildah(path), nil
	}
	if path, err := exec.LookPath("docker"); err == nil && exec.CommandContext(ctx, path, "buildx", "ls").Run() == nil && exec.CommandContext(ctx, path, "info").Run() == nil {
		return docker(path), nil
	}
	return nil, errors.New("there is neither buildah nor a docker that runs; on Debian and Ubuntu: apt-get install buildah")
}

type buildah string

func (buildah) name() string { return "buildah" }

// build works without rights, without a store of its own on the machine and, because
// nothing is pulled, without any policy on whose images may be.
func (b buildah) build(ctx context.Context, j job) error {
	return inFolder(func(store string) error {
		policy, nothing := filepath.Join(store, "policy.json"), filepath.Join(store, "context")
		if err := errors.Join(
			os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600),
			os.Mkdir(nothing, 0o755),
		); err != nil {
			return fmt.Errorf("making a store of images: %w", err)
		}
		at := []string{"--root", filepath.Join(store, "root"), "--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs"}
		if err := command(ctx, string(b), append(at, "bud", "--signature-policy", policy, "--isolation", "chroot", "--timestamp", "0",
			"--platform", j.Platform, "--build-context", "build="+j.folder, "--file", j.Dockerfile, "--tag", j.Reference, nothing)...); err != nil {
			return err
		}
		return command(ctx, string(b), append(at, "push", "--signature-policy", policy, j.Reference, "oci-archive:"+j.Path+":"+j.Reference)...)
	})
}

type docker string

func (docker) name() string { return "docker" }

func (d docker) build(ctx context.Context, j job) error {
	return inFolder(func(nothing string) error {
		return command(ctx, string(d), "buildx", "build", "--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=0",
			"--output", "type=oci,rewrite-timestamp=true,dest="+j.Path, "--platform", j.Platform,
			"--build-context", "build="+j.folder, "--file", j.Dockerfile, "--tag", j.Reference, nothing)
	})
}

func command(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, args, err, out)
	}
	return nil
}

// digestOf gives the digest of an OCI archive's one manifest: the name that the
// image has in every registry.
func digestOf(archive string) (string, error) {
	text, err := os.ReadFile(archive)
	if err != nil {
		return "", fmt.Errorf("reading the archive: %w", err)
	}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("archive %s has no index.json", archive)
		}
		if err != nil {
			return "", fmt.Errorf("reading archive %s: %w", archive, err)
		}
		if filepath.Clean(h.Name) != "index.json" {
			continue
		}
		var index struct {
			Manifests []struct {
				Digest string `json:"digest"`
			} `json:"manifests"`
		}
		if err := json.NewDecoder(r).Decode(&index); err != nil {
			return "", fmt.Errorf("reading the index of archive %s: %w", archive, err)
		}
		if len(index.Manifests) != 1 {
			return "", fmt.Errorf("archive %s has %d images, want one", archive, len(index.Manifests))
		}
		return index.Manifests[0].Digest, nil
	}
}
