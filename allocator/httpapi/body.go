package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

const (
	// maxBody is several times the size of a claim of api.MaxPorts ports.
	maxBody = 64 << 10
	// bodyTime is how long a body may take after its header. Agents send both at once;
	// it is enough to lose a packet twice.
	bodyTime = 3 * time.Second
)

// bodyKey is where a request's context has the body that was read.
const bodyKey = "body"

// readBody reads the whole body before the call goes on.
func readBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		text, err := receive(x)
		if err != nil {
			// What is left of the body is not worth waiting for.
			x.Response().Header().Set("Connection", "close")
			return err
		}
		x.Set(bodyKey, text)
		return next(x)
	}
}

func receive(x echo.Context) ([]byte, error) {
	connection := http.NewResponseController(x.Response())
	if err := setReadDeadline(connection, time.Now().Add(bodyTime)); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(http.MaxBytesReader(x.Response(), x.Request().Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, api.Errorf(api.TooLarge, "the body is longer than %d bytes", maxBody)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, api.Errorf(api.Unavailable, "the body did not arrive within %v; retry", bodyTime).WithRetryAfter(time.Second)
	}
	if err != nil {
		return nil, api.Errorf(api.Malformed, "the body ended early").WithCause(err)
	}
	// While the call runs, the server reads on to see that the caller goes away. It
	// would take a deadline for that.
	return text, setReadDeadline(connection, time.Time{})
}

// setReadDeadline bounds reads from a connection; a request without one has no deadline.
func setReadDeadline(c *http.ResponseController, t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return api.Errorf(api.Unavailable, "the connection failed; retry").WithCause(err)
	}
	return nil
}

// decode gives the body that readBody has read: exactly one JSON value without unknown
// fields.
func decode[T any](x echo.Context) (T, error) {
	var v T
	text, _ := x.Get(bodyKey).([]byte)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, wrongBody(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, api.Errorf(api.Malformed, "the body holds more than one JSON value")
	}
	return v, nil
}

// wrongBody says what is wrong with a body, without the names of Go's types.
func wrongBody(err error) *api.Problem {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return api.Errorf(api.Malformed, "field %q of the body cannot be a JSON %s", wrong.Field, wrong.Value).WithCause(err)
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return api.Errorf(api.Malformed, "the body is not JSON, see byte %d", wrong.Offset).WithCause(err)
	}
	// Package json has no type for this error.
	if field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return api.Errorf(api.Malformed, "the body has the unknown field %s", field).WithCause(err)
	}
	return api.Errorf(api.Malformed, "the body is not a complete JSON value").WithCause(err)
}
