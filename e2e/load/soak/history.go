package soak

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// history is what happened, in order, and how often. All of it is in a file, the newest
// lines are also in memory.
type history struct {
	folder string
	began  time.Time

	mu sync.Mutex // guards all below
	// err is the first error that writing to file returned.
	file *os.File
	err  error
	// newest are the last lines, at most newestLines.
	newest []string
	times  map[string]int
}

// newestLines fill a screen or two.
const newestLines = 60

// newHistory writes into folder, or into a new temporary folder if that is empty.
func newHistory(folder string) (_ *history, err error) {
	d := &history{folder: folder, began: time.Now(), times: make(map[string]int)}
	if folder == "" {
		if d.folder, err = os.MkdirTemp("", "portlease-soak-"); err != nil {
			return nil, fmt.Errorf("making a folder for the history: %w", err)
		}
	} else if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, fmt.Errorf("making a folder for the history: %w", err)
	}
	if d.file, err = os.Create(d.path("history.log")); err != nil {
		return nil, fmt.Errorf("making the history: %w", err)
	}
	return d, nil
}

func (d *history) path(name string) string { return filepath.Join(d.folder, name) }

// log adds a line to the history.
func (d *history) log(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprintf("%8.3f ", time.Since(d.began).Seconds()) + fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(d.file, line); err != nil && d.err == nil {
		d.err = fmt.Errorf("writing the history: %w", err)
	}
	if len(d.newest) == newestLines {
		d.newest = d.newest[1:]
	}
	d.newest = append(d.newest, line)
}

// count adds one to the counter of that name.
func (d *history) count(what string) { d.add(what, 1) }

func (d *history) add(what string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times[what] += n
}

// counts returns a copy of all counters.
func (d *history) counts() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.times)
}

// tail returns the newest lines.
func (d *history) tail() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.newest...)
}

// close closes the file, and removes the folder unless keep is true or writing failed.
func (d *history) close(keep bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.file.Close(); err != nil && d.err == nil {
		d.err = fmt.Errorf("closing the history: %w", err)
	}
	if keep || d.err != nil {
		return d.err
	}
	if err := os.RemoveAll(d.folder); err != nil {
		return fmt.Errorf("removing the history: %w", err)
	}
	return nil
}

func writeJSON(folder, name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
