package kubeapi

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reservation keeps a loopback port for the API server while the server is down. It is a
// bound socket that never listens, so connections are refused. The kernel gives the port
// to no other process, except one of the same user that also asks to share it.
type reservation struct {
	socket *os.File
	port   int
}

func reservePort() (_ *reservation, err error) {
	syscall.ForkLock.RLock() // otherwise a child forked now would inherit the socket
	descriptor, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(descriptor)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("opening a socket to reserve a port: %w", err)
	}
	socket := os.NewFile(uintptr(descriptor), "reserved port")
	defer func() {
		if err != nil {
			err = errors.Join(err, socket.Close())
		}
	}()
	if err := unix.SetsockoptInt(descriptor, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return nil, fmt.Errorf("making a reserved port shareable: %w", err)
	}
	if err := unix.Bind(descriptor, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("reserving a loopback port: %w", err)
	}
	bound, err := unix.Getsockname(descriptor)
	if err != nil {
		return nil, fmt.Errorf("asking which port was reserved: %w", err)
	}
	address, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		return nil, fmt.Errorf("reserving a loopback port: bound to a %T", bound)
	}
	return &reservation{socket: socket, port: address.Port}, nil
}

func (r *reservation) release() error {
	if err := r.socket.Close(); err != nil {
		return fmt.Errorf("giving back port %d: %w", r.port, err)
	}
	return nil
}
