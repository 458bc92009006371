package rig

import (
	"fmt"
	"os"
	"path/filepath"
)

// DumpLogs prints the logs of all parts to Output.
func (r *Rig) DumpLogs() {
	if r.dir == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	if err != nil {
		return
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		_, _ = fmt.Fprintf(r.Output, "=== %s\n%s\n", filepath.Base(f), text)
	}
}

// KeepLogs copies the logs of all parts into a folder, one file for each part.
func (r *Rig) KeepLogs(folder string) error {
	files, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	if err != nil {
		return fmt.Errorf("looking for logs: %w", err)
	}
	for _, f := range files {
		text, err := readLog(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(f)), []byte(text), 0o600); err != nil {
			return fmt.Errorf("keeping a log: %w", err)
		}
	}
	return nil
}

// Log gives the agent's log.
func (p *Pod) Log() (string, error) { return readLog(p.log) }

// Log gives the replica's log.
func (a *Replica) Log() (string, error) { return readLog(a.log) }

func readLog(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a log: %w", err)
	}
	return string(text), nil
}
