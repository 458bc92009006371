package httpapi

import (
	"crypto/rand"
	"log/slog"
	"regexp"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// safeID matches an ID that can go into a log and a header unchanged.
var safeID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// assignRequestID gives every request an ID, the caller's own if that is safe. The ID
// is in the answer and in every line that is logged with the request's context, also
// by other packages. It also sets the headers that all answers have.
func assignRequestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		id := x.Request().Header.Get(api.HeaderRequestID)
		if !safeID.MatchString(id) {
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
