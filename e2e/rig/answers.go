package rig

import (
	"bytes"
	"io"
	"net/http"

	"github.com/portlease/portlease/shared/api/contract"
)

// checked is the transport to the allocators. It checks every answer, and every
// granted request, against the OpenAPI document; Rig.Check reports the violations.
// Only allocators serve TLS, so it ignores plain HTTP.
type checked struct {
	rig  *Rig
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return c.next.RoundTrip(r)
	}
	sent := []byte{}
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	answer, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	closing := answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil { // the connection broke: pass the error on to the reader
		answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), broken{err}))
		return answer, nil
	}
	if err := c.rig.contract.Check(contract.Exchange{
		Method: r.Method, URL: r.URL, Sent: sent, Status: answer.StatusCode, Header: answer.Header, Body: body,
	}); err != nil {
		c.rig.history.violate(err)
	}
	return answer, closing
}

// broken returns the read error at the end of a truncated answer.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
