package kubeapi

import "syscall"

// ownProcessGroup keeps the terminal's Ctrl-C from the child, which would
// otherwise go away before those who still need it, and makes the kernel kill
// the child when its parent ends, however that ends.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
