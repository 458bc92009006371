package rig

import (
	"bytes"
	"io"
	"net/http"

	"github.com/portlease/portlease/shared/api/contract"
)

// checked is a way to the allocators on which every answer is held against the
// OpenAPI document, and every request that was granted. Check tells what is not
// as it says. Only allocators serve TLS, and only they are looked at.
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
	if err != nil { // it was cut off on the way: whoever reads it learns that
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

// broken is what comes after the last byte of an answer that was cut off.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
