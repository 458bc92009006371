package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

// maxBody is several times what a claim of api.MaxPorts ports takes.
const maxBody = 64 << 10

// decode reads exactly one JSON value without unknown fields.
func decode[T any](x echo.Context) (T, error) {
	var v T
	text, err := io.ReadAll(http.MaxBytesReader(x.Response().Writer, x.Request().Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return v, api.Errorf(api.TooLarge, "the body is longer than %d bytes", maxBody)
	}
	if err != nil {
		return v, api.Errorf(api.Malformed, "the body broke off: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, api.Errorf(api.Malformed, "the body is not what this call takes: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, api.Errorf(api.Malformed, "the body holds more than one JSON value")
	}
	return v, nil
}
