package hostile

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"sync"
)

// requests counts what the replicas request of the API server.
type requests struct {
	mu sync.Mutex
	// by is verb and path of a request → how often it was made.
	by map[string]int
	// reviews is the hash of the body of a TokenReview → how often it was made.
	reviews map[[sha256.Size]byte]int
}

func newRequests() *requests {
	return &requests{by: make(map[string]int), reviews: make(map[[sha256.Size]byte]int)}
}

// door is a [rig.KubeDoor].
func (r *requests) door(_ int, next http.RoundTripper) http.RoundTripper {
	return counting{r, next}
}

type counting struct {
	*requests
	next http.RoundTripper
}

const reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(req *http.Request) (*http.Response, error) {
	var hash [sha256.Size]byte
	review := req.Method == http.MethodPost && req.URL.Path == reviewPath
	if review {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		if err := req.Body.Close(); err != nil {
			return nil, err
		}
		hash = sha256.Sum256(body)
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	c.mu.Lock()
	c.by[req.Method+" "+req.URL.Path]++
	if review {
		c.reviews[hash]++
	}
	c.mu.Unlock()
	return c.next.RoundTrip(req)
}

// of counts the requests with this verb whose path has the suffix.
func (r *requests) of(verb, suffix string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for request, times := range r.by {
		if strings.HasPrefix(request, verb+" ") && strings.HasSuffix(request, suffix) {
			n += times
		}
	}
	return n
}

// tokenReviews counts the TokenReviews.
func (r *requests) tokenReviews() int { return r.of(http.MethodPost, reviewPath) }

// repeated counts the TokenReviews of tokens that had been reviewed before.
func (r *requests) repeated() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, times := range r.reviews {
		n += times - 1
	}
	return n
}
