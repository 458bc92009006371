package kubeapi

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownProcessGroup keeps the terminal's Ctrl-C from the child, which would
// otherwise go away before those who still need it, and makes the kernel kill
// the child when its parent ends, however that ends.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitStopped returns once every thread of the child has stopped. The signal
// to stop is only the beginning of that: a thread that runs on another
// processor may still answer a request.
func awaitStopped(pid int) error {
	for {
		// WNOWAIT leaves the news for the next caller, and no reaping to do.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
