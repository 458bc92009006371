package rig

import "syscall"

// childAttributes put the child into a process group of its own, so that Ctrl-C
// reaches only this process, and let the kernel kill it with this process.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
