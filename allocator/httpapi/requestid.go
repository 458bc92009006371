package httpapi

import (
	"crypto/rand"
	"log/slog"
	"regexp"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// harmless is an id that can go into a log and a header as it is.
var harmless = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// name gives every request an id, the caller's own if it may pass: it is in the
// answer, and in every line that is logged with the request's context, also by
// what is behind this package. It sets what all answers have in their header.
func name(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		id := x.Request().Header.Get(api.HeaderRequestID)
		if !harmless.MatchString(id) {
			id = rand.Text()
		}
		header := x.Response().Header()
		header.Set(api.HeaderRequestID, id)
		header.Set(echo.HeaderXContentTypeOptions, "nosniff")
		header.Set(echo.HeaderCacheControl, "no-store")
		x.SetRequest(x.Request().WithContext(daemon.LogWith(x.Request().Context(), slog.String("requestID", id))))
		return next(x)
	}
}
