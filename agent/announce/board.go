package announce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// PathEndpoint is where a Board belongs: GET gives the document.
const PathEndpoint = "/v1/endpoint"

// askAgain is when a game should look at the board again.
const askAgain = time.Second

// Board shows the document over HTTP, to what runs in the pod, for as long as it
// is announced. Its zero value shows nothing yet.
type Board struct {
	mu        sync.Mutex // guards all below
	document  []byte     // nil unless announced
	withdrawn bool
}

// Announce puts the claim's document up.
func (b *Board) Announce(_ context.Context, c api.Claim) error {
	d, err := Describe(c)
	if err != nil {
		return fmt.Errorf("showing the endpoint: %w", err)
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding the endpoint: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.document = append(text, '\n')
	return nil
}

// Withdraw takes the document down.
func (b *Board) Withdraw(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdrawn = b.withdrawn || b.document != nil
	b.document = nil
	return nil
}

// ServeHTTP answers the document, or a Problem that says why there is none.
func (b *Board) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	document, withdrawn := b.document, b.withdrawn
	b.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	if document != nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the peer hung up: there is nobody left to tell
		return
	}
	detail := "the pod has no endpoint yet: its ports are not bound; ask again"
	if withdrawn {
		detail = "the endpoint was withdrawn: nobody new should come; the pod is stopping, or gets other ports"
	}
	w.Header().Set("Content-Type", api.ProblemType)
	w.Header().Set("Retry-After", strconv.Itoa(int(askAgain.Seconds())))
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(api.Errorf(api.Pending, "%s", detail)) // likewise
}
