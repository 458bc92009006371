package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/portlease/portlease/agent/signals"
)

// marker is an empty file in the shared volume that is there while the game is not ready.
// It outlives the agent's process and ends with the pod, as the game's report should.
type marker struct{ path string }

// markerIn names the marker of a folder. The folder's other hidden files are of package
// announce, and end in .portlease.
func markerIn(dir string) marker { return marker{filepath.Join(dir, ".notready")} }

// restore repeats the game's last report to the agent.
func (m marker) restore(s *signals.Signals) error {
	switch _, err := os.Stat(m.path); {
	case err == nil:
		s.GameNotReady()
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading what the game reported: %w", err)
	}
	return nil
}

// notReady and ready remember a report.
func (m marker) notReady() error {
	if err := os.WriteFile(m.path, nil, 0o600); err != nil {
		return fmt.Errorf("remembering that the game is not ready: %w", err)
	}
	return nil
}

func (m marker) ready() error {
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting that the game was not ready: %w", err)
	}
	return nil
}
