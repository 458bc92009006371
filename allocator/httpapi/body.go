package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

// maxBody is several times the size of a claim of api.MaxPorts ports.
const maxBody = 64 << 10

// decode reads exactly one JSON value without unknown fields.
func decode[T any](x echo.Context) (T, error) {
	var v T
	text, err := io.ReadAll(http.MaxBytesReader(x.Response().Writer, x.Request().Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return v, api.Errorf(api.TooLarge, "the body is longer than %d bytes", maxBody)
	}
	if err != nil {
		return v, api.Errorf(api.Malformed, "the body ended early").WithCause(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, api.Errorf(api.Malformed, "%s", wrongBody(err)).WithCause(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, api.Errorf(api.Malformed, "the body holds more than one JSON value")
	}
	return v, nil
}

// wrongBody says what is wrong with a body, without the names of Go's types.
func wrongBody(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("field %q of the body cannot be a JSON %s", wrong.Field, wrong.Value)
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("the body is not JSON, see byte %d", wrong.Offset)
	}
	// Package json has no type for this error.
	if field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return fmt.Sprintf("the body has the unknown field %s", field)
	}
	return "the body is not a complete JSON value"
}
