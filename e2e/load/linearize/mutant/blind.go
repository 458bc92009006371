package mutant

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// BlindUpdate turns the ledger's compare-and-swap into a blind update: a replica's
// write overwrites whatever is there. The API server accepts no update of a Lease
// without version and UID, so the newest replace those that the replica read. Creating
// a Lease that exists overwrites it.
func BlindUpdate(_ int, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		collection, name, leases := leasePath(r.URL.Path)
		if !leases || r.Method != http.MethodPut && r.Method != http.MethodPost {
			return next.RoundTrip(r)
		}
		asJSON(r)
		lease, err := takeLease(r)
		if err != nil {
			return nil, err
		}
		if lease.Labels[labelKind] == "" {
			// The Lease of the leader election is not part of the ledger.
			as, err := withLease(r, lease)
			if err != nil {
				return nil, err
			}
			return next.RoundTrip(as)
		}
		if r.Method == http.MethodPost {
			name = lease.Name
			as, err := withLease(r, lease)
			if err != nil {
				return nil, err
			}
			answer, err := next.RoundTrip(as)
			if err != nil || answer.StatusCode != http.StatusConflict {
				return answer, err
			}
			if err := answer.Body.Close(); err != nil {
				return nil, fmt.Errorf("closing an answer: %w", err)
			}
		}
		return overwrite(r, next, collection+"/"+name, lease)
	})
}

// overwrite repeats a write until no other write comes between.
func overwrite(r *http.Request, next http.RoundTripper, path string, lease *coordinationv1.Lease) (*http.Response, error) {
	for {
		read := r.Clone(r.Context())
		read.Method, read.URL.Path, read.URL.RawQuery = http.MethodGet, path, ""
		read.Body, read.ContentLength = http.NoBody, 0
		read.Header.Del("Content-Length")
		answer, err := next.RoundTrip(read)
		if err != nil || answer.StatusCode != http.StatusOK {
			return answer, err // gone: there is nothing to write over
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return nil, fmt.Errorf("reading an answer: %w", err)
		}
		if err := answer.Body.Close(); err != nil {
			return nil, fmt.Errorf("closing an answer: %w", err)
		}
		var newest coordinationv1.Lease
		if err := json.Unmarshal(text, &newest); err != nil {
			return nil, fmt.Errorf("reading a lease: %w", err)
		}
		lease.UID, lease.ResourceVersion = newest.UID, newest.ResourceVersion
		write, err := withLease(r, lease)
		if err != nil {
			return nil, err
		}
		write.Method, write.URL.Path, write.URL.RawQuery = http.MethodPut, path, ""
		answer, err = next.RoundTrip(write)
		if err != nil || answer.StatusCode != http.StatusConflict {
			return answer, err
		}
		if err := answer.Body.Close(); err != nil {
			return nil, fmt.Errorf("closing an answer: %w", err)
		}
	}
}
