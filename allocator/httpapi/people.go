package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

// people mounts what people and tools look at. Who may get or list Leases in the
// allocator's namespace may see it.
func (c Config) people(e *echo.Echo) {
	show := func(verb string, view func(context.Context, echo.Context) (any, error)) echo.HandlerFunc {
		return func(x echo.Context) error {
			ctx := x.Request().Context()
			token, err := bearer(x)
			if err != nil {
				return err
			}
			who, err := c.Callers.ReviewPerson(ctx, token)
			if err != nil {
				return err
			}
			if err := c.Callers.Allowed(ctx, who, verb); err != nil {
				return err
			}
			v, err := view(ctx, x)
			if err != nil {
				return err
			}
			return x.JSON(http.StatusOK, v)
		}
	}
	e.GET(api.PathPools, show("list", func(ctx context.Context, _ echo.Context) (any, error) { return c.Views.Pools(ctx) }))
	e.GET(api.PathPorts, show("list", func(ctx context.Context, _ echo.Context) (any, error) { return c.Views.Ports(ctx) }))
	e.GET(api.PathPorts+"/:loadBalancer/:port", show("get", func(ctx context.Context, x echo.Context) (any, error) {
		port, err := strconv.Atoi(x.Param("port"))
		if err != nil || port < 1 || port > 65535 {
			return nil, api.Errorf(api.Malformed, "port %q is not a number from 1 to 65535", x.Param("port"))
		}
		return c.Views.Port(ctx, x.Param("loadBalancer"), port)
	}))
	e.GET(api.ClaimPath(":namespace", ":pod"), show("get", func(ctx context.Context, x echo.Context) (any, error) {
		return c.Views.ClaimOf(ctx, x.Param("namespace"), x.Param("pod"))
	}))
}
