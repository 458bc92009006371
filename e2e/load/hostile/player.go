package hostile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	packetEvery = 50 * time.Millisecond
	// answerLimit is how long an answer may take. This machine may be busy.
	answerLimit = 3 * time.Second
)

// player sends packets to one game until it is stopped. The game answers each.
type player struct {
	conn           net.Conn
	sent, answered atomic.Int64
	quit           chan struct{}
	sending, wait  sync.WaitGroup
}

// newPlayer starts a player.
func newPlayer(ctx context.Context, endpoint string) (*player, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", endpoint)
	if err != nil {
		return nil, fmt.Errorf("dialing a game: %w", err)
	}
	p := &player{conn: conn, quit: make(chan struct{})}
	p.sending.Go(p.send)
	p.wait.Go(p.hear)
	return p, nil
}

func (p *player) send() {
	tick := time.NewTicker(packetEvery)
	defer tick.Stop()
	for {
		// A refused packet is a lost one: it counts as sent.
		_, _ = p.conn.Write([]byte("hello"))
		p.sent.Add(1)
		select {
		case <-p.quit:
			return
		case <-tick.C:
		}
	}
}

func (p *player) hear() {
	buffer := make([]byte, 1500)
	for {
		_, err := p.conn.Read(buffer)
		switch {
		case err == nil:
			p.answered.Add(1)
		case errors.Is(err, net.ErrClosed):
			return
		}
	}
}

// stop stops sending.
func (p *player) stop() { close(p.quit) }

// count waits for the last answers and ends the player.
func (p *player) count() (sent, answered int) {
	p.sending.Wait()
	for until := time.Now().Add(answerLimit); p.answered.Load() < p.sent.Load() && time.Now().Before(until); {
		<-time.After(packetEvery)
	}
	_ = p.conn.Close() // ends hear
	p.wait.Wait()
	return int(p.sent.Load()), int(p.answered.Load())
}
