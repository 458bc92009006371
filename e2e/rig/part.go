package rig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/shared/daemon"
)

// part is one allocator or agent. It runs as its own process or in this one.
type part interface {
	// start starts the part unless it runs.
	start() error
	running() bool
	// signal sends a signal. It does nothing if the part has ended.
	signal(os.Signal) error
	// wait waits until the part has ended. It gives the exit code, or -1 for a
	// signal.
	wait(context.Context) (int, error)
	// kill ends the part at once, as the kernel's OOM killer would.
	kill(context.Context) error
	// stop ends the part gracefully.
	stop(context.Context) error
	// end ends the part in the fastest way that it supports.
	end(context.Context) error
}

var (
	_ part = &process{}
	_ part = &inProcess{}
)

// errInProcess is the error of a call that needs a process of its own.
var errInProcess = errors.New("a part that runs in this process can neither be killed nor paused: set Config.InProcess to false")

// inProcess is a part that runs in this process, so that the race detector and a
// debugger see it. It can be stopped, but neither killed nor paused.
type inProcess struct {
	log string
	run func(context.Context, *slog.Logger) error

	mu     sync.Mutex
	cancel context.CancelFunc
	// ended is closed when run has returned; err then has its result.
	ended chan struct{}
	err   error
}

func (p *inProcess) start() error {
	if p.running() {
		return nil
	}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	log, err := daemon.NewLogger(file, "debug")
	if err != nil {
		return errors.Join(err, file.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.mu.Lock()
	p.cancel, p.ended = cancel, ended
	p.mu.Unlock()
	go func() {
		err := p.run(ctx, log)
		p.mu.Lock()
		p.err = errors.Join(err, file.Close())
		p.mu.Unlock()
		close(ended)
	}()
	return nil
}

func (p *inProcess) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *inProcess) signal(s os.Signal) error {
	switch s {
	case syscall.SIGCONT:
		return nil
	case syscall.SIGTERM:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cancel != nil {
			p.cancel()
		}
		return nil
	}
	return errInProcess
}

func (p *inProcess) wait(ctx context.Context) (int, error) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended == nil {
		return 0, nil
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for a part to end: %w", context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 1, fmt.Errorf("a part failed: %w", p.err)
	}
	return 0, nil
}

func (p *inProcess) kill(context.Context) error { return errInProcess }

func (p *inProcess) end(ctx context.Context) error { return p.stop(ctx) }

func (p *inProcess) stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	_, err := p.wait(ctx)
	return err
}

// awsConfig is the SDK configuration that corresponds to awsEnvironment.
func awsConfig(l *link, key string) *aws.Config {
	return &aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(key, "rig", ""),
		BaseEndpoint: aws.String("http://" + l.Addr()),
	}
}

// pidOf gives a part's process id. A part in this process has this process's id.
func pidOf(p part) int {
	if one, ok := p.(*process); ok {
		return one.pid()
	}
	return os.Getpid()
}
