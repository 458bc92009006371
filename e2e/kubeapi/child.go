package kubeapi

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// tailBytes is how much of a child's log an error quotes.
const tailBytes = 4096

// child is one running etcd or kube-apiserver.
type child struct {
	name    string
	logFile string
	process *os.Process
	done    chan struct{} // closed once the process is gone and reaped
	exit    error         // why it ended; read only after done
}

// startChild starts the program and appends what it prints to logFile.
func startChild(program, logFile string, args ...string) (*child, error) {
	name := filepath.Base(program)
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = ownProcessGroup()
	c := &child{name: name, logFile: logFile, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(c.done)
		// The kernel sends the death signal when the thread that forked ends, not when the
		// process ends. So this goroutine keeps its thread while the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		c.process = cmd.Process
		closed := output.Close() // the child has a descriptor of its own
		if err != nil {
			started <- errors.Join(err, closed)
			return
		}
		started <- nil
		exit := cmd.Wait()
		if exit == nil {
			exit = errors.New(cmd.ProcessState.String())
		}
		c.exit = errors.Join(exit, closed)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return c, nil
}

// kill ends the process, even a paused one, and returns once it is reaped. It succeeds if
// the process has already ended.
func (c *child) kill() error {
	if err := c.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", c.name, err)
	}
	<-c.done
	return nil
}

// pause stops the process and returns once all its threads have stopped.
func (c *child) pause() error {
	if err := c.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := awaitStopped(c.process.Pid); err != nil {
		return fmt.Errorf("waiting until %s has stopped: %w", c.name, err)
	}
	return nil
}

func (c *child) resume() error { return c.signal(syscall.SIGCONT) }

func (c *child) signal(s syscall.Signal) error {
	if err := c.process.Signal(s); err != nil {
		return fmt.Errorf("sending %v to %s: %w", s, c.name, err)
	}
	return nil
}

// withLog adds the last lines of the child's log to an error about the child.
func (c *child) withLog(err error) error {
	tail, tailErr := lastLines(c.logFile)
	if tailErr != nil {
		return fmt.Errorf("%s: %w (its log cannot be read: %w)", c.name, err, tailErr)
	}
	return fmt.Errorf("%s: %w; its log ends:\n%s", c.name, err, tail)
}

// lastLines returns the complete lines within the last tailBytes of a file.
func lastLines(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil || len(content) <= tailBytes {
		return content, err
	}
	tail := content[len(content)-tailBytes:]
	if _, whole, cut := bytes.Cut(tail, []byte("\n")); cut {
		tail = whole
	}
	return tail, nil
}
