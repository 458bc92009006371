package kubeapi

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownProcessGroup keeps the terminal's Ctrl-C from the child. Otherwise the child could
// end before the programs that still use it. It also makes the kernel kill the child when
// the parent ends, even if the parent is killed.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitStopped returns once every thread of the child has stopped. Sending the stop signal
// is not enough: a thread on another processor may still answer a request.
func awaitStopped(pid int) error {
	for {
		// WNOWAIT leaves the event for the next caller; nothing is reaped.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
