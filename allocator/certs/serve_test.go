package certs_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/certs"
)

// TestHandshakeIsACheapOne: a fleet makes one for each renewal.
func TestHandshakeIsACheapOne(t *testing.T) {
	files := newPairFiles(t)
	cert, key := keyPair(t, 1)
	files.write(t, cert, key)
	source, err := certs.NewFiles(files.cert, files.key, files.cert, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	server := tls.Server(ours, certs.ServerConfig(source))
	go func() { _ = server.HandshakeContext(t.Context()) }() // the client sees how it ends
	client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true})
	defer func() { _ = theirs.Close() }()
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := client.ConnectionState(); state.CurveID != tls.X25519 || state.Version != tls.VersionTLS13 {
		t.Errorf("agreed on %v with TLS %x", state.CurveID, state.Version)
	}
}
