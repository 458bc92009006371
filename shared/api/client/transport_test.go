package client_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api/client"
)

func TestInvalidSettingsAreErrors(t *testing.T) {
	for _, cfg := range []client.Config{
		{}, {URL: "allocator:443"}, {URL: "ftp://allocator"}, {URL: "https://"}, {URL: "://"},
		{URL: "https://allocator", CAFile: filepath.Join(t.TempDir(), "none")},
	} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("accepted %+v", cfg)
		}
	}
}

func TestTokenAndCAFilesAreReadAgain(t *testing.T) {
	var tokens []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewTLSServer(handler)
	defer server.Close()
	dir := t.TempDir()
	tokenFile, caFile := filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write(t, caFile, right)
	write(t, tokenFile, []byte("one\n"))
	c, err := client.New(client.Config{URL: server.URL, TokenFile: tokenFile, CAFile: caFile})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"one", "two"} {
		write(t, tokenFile, []byte(token+"\n"))
		if err := c.Finish(t.Context(), "n", "p", "u", nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"Bearer one", "Bearer two"}; !slices.Equal(tokens, want) {
		t.Errorf("tokens were %q", tokens)
	}
	write(t, caFile, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	if err := c.Finish(t.Context(), "n", "p", "u", nil); err == nil || !strings.Contains(err.Error(), caFile) {
		t.Errorf("with an empty CA file: %v", err)
	}
	write(t, caFile, right)
	write(t, tokenFile, nil)
	if err := c.Finish(t.Context(), "n", "p", "u", nil); err == nil || !strings.Contains(err.Error(), tokenFile) {
		t.Errorf("with an empty token: %v", err)
	}
	if len(tokens) != 2 {
		t.Errorf("the server got %d requests, want 2", len(tokens))
	}
}

func TestUntrustedServerGetsNoRequest(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request reached a server that is not trusted")
	}))
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := c.Finish(t.Context(), "n", "p", "u", nil); err == nil {
		t.Error("no error")
	}
	if time.Since(start) > 5*time.Second {
		t.Error("an untrusted server was called again")
	}
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
