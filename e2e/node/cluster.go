//go:build linux

package main

import (
	"context"
	stdbase64 "encoding/base64"
	"os/exec"
	"path/filepath"
)

func base64(text []byte) string { return stdbase64.StdEncoding.EncodeToString(text) }

// kubectl runs it as the cluster's administrator.
func (m *machine) kubectl(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "/", filepath.Join(m.Programs, "kubectl"), append([]string{"--kubeconfig", m.kubeconfig("admin")}, args...)...)
}

func (m *machine) startDNS() error {
	_, err := m.start("coredns", exec.Command(m.CoreDNS, "-conf", m.file("Corefile")))
	return err
}

func (m *machine) play(ctx context.Context) error { <-ctx.Done(); return nil }
