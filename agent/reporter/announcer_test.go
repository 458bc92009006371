package reporter_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/shared/api"
)

// What cannot be written to one folder is written to the others, and shown, and
// is told: nobody is left out because of another.
func TestAnnouncersAreAllTold(t *testing.T) {
	good, bad, worse := t.TempDir(), filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "other")
	for _, name := range []string{bad, worse} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var board announce.Board
	all := reporter.Announcers{announce.Files{Dir: bad}, announce.Files{Dir: good}, announce.Files{Dir: worse}, &board}
	c := api.Claim{LoadBalancer: api.LoadBalancer{Host: "games.example"}, Ports: []api.ClaimedPort{{Port: api.Port{Name: "game"}, ListenerPort: 30007}}}
	for _, step := range []struct {
		does   func() error
		there  bool
		status int
	}{
		{func() error { return all.Announce(t.Context(), c) }, true, http.StatusOK},
		{func() error { return all.Withdraw(t.Context()) }, false, http.StatusServiceUnavailable},
	} {
		if err := step.does(); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), worse) {
			t.Errorf("the error is %v", err)
		}
		if _, err := os.Stat(filepath.Join(good, announce.FileEndpoint)); (err == nil) != step.there {
			t.Errorf("the file endpoint is there: %v, want %v", err, step.there)
		}
		answer := httptest.NewRecorder()
		board.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, announce.PathEndpoint, nil))
		if answer.Code != step.status {
			t.Errorf("the board answers %d, want %d", answer.Code, step.status)
		}
	}
	if err := (reporter.Announcers{&board, announce.Files{Dir: good}}).Announce(t.Context(), c); err != nil {
		t.Errorf("without anything wrong: %v", err)
	}
}
