package rig

import "syscall"

// childAttributes put the child into its own process group, so that Ctrl-C reaches
// only this process. The kernel kills the child when this process ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
