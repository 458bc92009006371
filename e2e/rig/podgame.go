package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// StartGame starts one of the example games, udp-echo or tcp-echo, on the pod's
// address.
func (p *Pod) StartGame(program string, port int) error {
	r := p.rig
	paths := map[string]string{"udp-echo": r.programs.udpEcho, "tcp-echo": r.programs.tcpEcho}
	game := &process{
		path: paths[program], log: p.gameLog(program),
		env: []string{"POD_NAME=" + p.Name, "PORTLEASE_DIR=" + p.Shared(), fmt.Sprintf("LISTEN=%s:%d", p.IP, port)},
	}
	p.mu.Lock()
	p.games = append(p.games, game)
	p.mu.Unlock()
	return game.start()
}

// Endpoint gives the content of the game's endpoint file. It returns an error until
// the agent has written the file.
func (p *Pod) Endpoint() (string, error) {
	text, err := os.ReadFile(filepath.Join(p.Shared(), "endpoint"))
	if err != nil {
		return "", fmt.Errorf("reading the endpoint of %s: %w", p.Name, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// GameLog gives the log of a game.
func (p *Pod) GameLog(program string) (string, error) {
	text, err := os.ReadFile(p.gameLog(program))
	if err != nil {
		return "", fmt.Errorf("reading the log of %s: %w", program, err)
	}
	return string(text), nil
}

func (p *Pod) gameLog(program string) string {
	return filepath.Join(p.rig.dir, program+"-"+logName(p.Name)+".log")
}
