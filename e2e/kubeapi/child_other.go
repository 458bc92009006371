//go:build unix && !linux

package kubeapi

import "syscall"

// ownProcessGroup keeps the terminal's Ctrl-C from the child, which would
// otherwise go away before those who still need it. Only Linux can tie the
// child's life to its parent's: here it outlives a parent that was killed.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitStopped does not wait: only Linux can be asked whether a child has
// stopped without being asked, too, whether it has ended, which would take the
// answer from whoever waits for its end.
func awaitStopped(int) error { return nil }
