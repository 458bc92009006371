package kubeapi

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Main starts an API for the tests of one package, runs them and closes the API. It
// returns the exit code for TestMain.
func Main(config Config, run func(*API) int) int {
	config.Progress = os.Stderr
	k, err := Start(context.Background(), config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return k.closeAfter(run(k))
}

// Lazy is an API for a package of which only some tests need one. The first that does
// starts it. The zero value is ready to use.
type Lazy struct {
	once sync.Once
	api  *API
	err  error
}

// Main runs the tests, and closes the API if one of them has started it. It returns the
// exit code for TestMain.
func (l *Lazy) Main(run func() int) int {
	code := run()
	if l.api == nil {
		return code
	}
	return l.api.closeAfter(code)
}

// Get returns the running API, and starts it if no test has.
func (l *Lazy) Get() (*API, error) {
	l.once.Do(func() { l.api, l.err = Start(context.Background(), Config{Progress: os.Stderr}) })
	return l.api, l.err
}

// closeAfter closes the API of tests that ended with an exit code, and returns the code
// of all.
func (a *API) closeAfter(code int) int {
	if err := a.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// pollEvery is the interval of Eventually.
const pollEvery = 50 * time.Millisecond

// Eventually calls ask until it returns no error. It gives up after patience or with ctx,
// and returns the last error.
func Eventually(ctx context.Context, patience time.Duration, what string, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last time: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
