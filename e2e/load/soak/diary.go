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

// diary is what happened, in order: all of it in a file, the newest also in memory,
// and how often.
type diary struct {
	folder string
	began  time.Time

	mu sync.Mutex // guards all below
	// file is the history; err is the first that writing it met.
	file *os.File
	err  error
	// newest are the last lines, at most newestLines.
	newest []string
	times  map[string]int
}

// newestLines are about what a screen or two have.
const newestLines = 60

// newDiary writes into that folder, or a new one of its own.
func newDiary(folder string) (_ *diary, err error) {
	d := &diary{folder: folder, began: time.Now(), times: make(map[string]int)}
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

func (d *diary) path(name string) string { return filepath.Join(d.folder, name) }

// note adds a line to the history.
func (d *diary) note(format string, args ...any) {
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

// count counts something by its name.
func (d *diary) count(what string) { d.add(what, 1) }

func (d *diary) add(what string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times[what] += n
}

// counts is how often everything was counted.
func (d *diary) counts() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.times)
}

// tail are the newest lines.
func (d *diary) tail() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.newest...)
}

// close closes the history, and removes the folder unless it is to be kept.
func (d *diary) close(keep bool) error {
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
