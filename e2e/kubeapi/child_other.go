//go:build unix && !linux

package kubeapi

import "syscall"

// ownProcessGroup keeps the terminal's Ctrl-C from the child. Otherwise the child could
// end before the programs that still use it. Only Linux can kill the child together with
// its parent; here the child outlives a killed parent.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitStopped does not wait. Outside Linux, asking whether a child has stopped may also
// reap it, and then the goroutine that waits for its exit misses it.
func awaitStopped(int) error { return nil }
