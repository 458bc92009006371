package httpapi

import (
	"bytes"
	"net/http"

	"github.com/labstack/echo/v4"
)

// sendLater lets a call write its answer into memory, and sends it once the call has
// ended and given up its slot: a caller that does not read holds up nobody else.
func sendLater(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		answer, err := keepAnswer(x, next)
		if err != nil || answer.status == 0 {
			return err
		}
		peer := x.Response().Writer
		peer.WriteHeader(answer.status)
		// It fails only if the caller has gone.
		_, _ = answer.body.WriteTo(peer)
		return nil
	}
}

// keepAnswer makes a call and gives what it wrote. What a call wrote before it failed, or
// panicked, is dropped: its error is the answer.
func keepAnswer(x echo.Context, next echo.HandlerFunc) (answer *keptAnswer, err error) {
	out := x.Response()
	peer, ended := out.Writer, false
	answer = &keptAnswer{ResponseWriter: peer}
	out.Writer = answer
	defer func() { out.Writer, out.Committed = peer, ended && out.Committed }()
	err = next(x)
	ended = err == nil
	return answer, err
}

// keptAnswer is an answer in memory. Its header is the peer's own.
type keptAnswer struct {
	http.ResponseWriter
	status int // 0 if nothing was written
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (a *keptAnswer) WriteHeader(status int) { a.status = status }

// Write implements io.Writer.
func (a *keptAnswer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.body.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *keptAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
