package kubeapi

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"testing"
)

func TestChildrenDieWithAKilledParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), self)
	parent.Env = append(os.Environ(), orphanVariable+"=1", "TMPDIR="+t.TempDir())
	parent.Stderr = os.Stderr
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var etcd, server int
	_, scanErr := fmt.Fscanln(output, &etcd, &server)
	if scanErr == nil {
		for _, pid := range []int{etcd, server} {
			if err := gone(pid); err == nil {
				t.Errorf("process %d is gone before its parent was killed", pid)
			}
		}
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent ended by itself")
	}
	if scanErr != nil {
		t.Fatal(scanErr)
	}
	for _, pid := range []int{etcd, server} {
		eventually(t, func() error { return gone(pid) })
	}
}

// gone returns nil if the process has ended, even if its new parent has not reaped it yet.
func gone(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// The state follows the name, which is in parentheses.
	state := stat[bytes.LastIndexByte(stat, ')')+2]
	if state == 'Z' || state == 'X' {
		return nil
	}
	return fmt.Errorf("process %d is in state %c", pid, state)
}
