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

// PathEndpoint is the path to serve a Board on: GET returns the document.
const PathEndpoint = "/v1/endpoint"

// retryAfter is when the game should ask again.
const retryAfter = time.Second

// Board serves the document over HTTP to the other containers of the pod, for as long
// as it is announced. The zero value has none yet.
type Board struct {
	mu        sync.Mutex // guards all below
	document  []byte     // nil unless announced
	withdrawn bool
}

// Announce serves the document of a claim from now on.
func (b *Board) Announce(_ context.Context, c api.Claim) error {
	d, err := Describe(c)
	if err != nil {
		return fmt.Errorf("serving the endpoint: %w", err)
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

// Withdraw stops serving the document.
func (b *Board) Withdraw(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdrawn = b.withdrawn || b.document != nil
	b.document = nil
	return nil
}

// ServeHTTP answers the document, or a Problem with the reason why there is none.
func (b *Board) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	document, withdrawn := b.document, b.withdrawn
	b.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	if document != nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the caller hung up
		return
	}
	detail := "the pod has no endpoint yet because its ports are not bound; ask again"
	if withdrawn {
		detail = "the endpoint was withdrawn because the pod is stopping or gets other ports; send no new players"
	}
	w.Header().Set("Content-Type", api.ProblemType)
	w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(api.Errorf(api.Pending, "%s", detail)) // likewise
}
