package httpapi

import (
	"context"
	"net/http"
	"regexp"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

// Rights of admins: verbs on Leases in the allocator's namespace. A user who may see
// or change Leases with kubectl may see or change ports here.
const (
	verbList   = "list"
	verbGet    = "get"
	verbUpdate = "update"
)

// admin mounts the calls of admins.
func (c Config) admin(e *echo.Echo, access *access, admission *admission) {
	admins, withReason := admission.bare(admission.admins), admission.body(admission.admins)
	e.GET(api.PathPools, asAdmin(access, verbList, func(ctx context.Context, _ string, _ echo.Context) (any, error) {
		list, err := c.Views.Pools(ctx)
		return completePools(list), err
	}), admins...)
	e.GET(api.PathPorts, asAdmin(access, verbList, func(ctx context.Context, _ string, _ echo.Context) (any, error) {
		list, err := c.Views.Ports(ctx)
		list.Ports = orEmpty(list.Ports)
		return list, err
	}), admins...)
	e.GET(api.ClaimPath(":namespace", ":pod"), asAdmin(access, verbGet, func(ctx context.Context, _ string, x echo.Context) (any, error) {
		namespace, pod, err := podOf(x)
		if err != nil {
			return nil, err
		}
		claim, err := c.Views.ClaimOf(ctx, namespace, pod)
		return completeClaim(claim), err
	}), admins...)
	const port, loadBalancer = api.PathPorts + "/:loadBalancer/:port", api.PathLoadBalancers + "/:loadBalancer"
	e.GET(port, asAdmin(access, verbGet, func(ctx context.Context, _ string, x echo.Context) (any, error) {
		id, number, err := portOf(x)
		if err != nil {
			return nil, err
		}
		return c.Views.Port(ctx, id, number)
	}), admins...)
	e.POST(port+api.CallBlock, asAdmin(access, verbUpdate, func(ctx context.Context, user string, x echo.Context) (any, error) {
		id, number, err := portOf(x)
		if err != nil {
			return nil, err
		}
		reason, err := reasonOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Block(ctx, user, id, number, reason)
	}), withReason...)
	e.POST(port+api.CallUnblock, asAdmin(access, verbUpdate, func(ctx context.Context, user string, x echo.Context) (any, error) {
		id, number, err := portOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Unblock(ctx, user, id, number)
	}), admins...)
	e.POST(loadBalancer+api.CallCordon, asAdmin(access, verbUpdate, func(ctx context.Context, user string, x echo.Context) (any, error) {
		id, err := loadBalancerOf(x)
		if err != nil {
			return nil, err
		}
		reason, err := reasonOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Cordon(ctx, user, id, reason)
	}), withReason...)
	e.POST(loadBalancer+api.CallUncordon, asAdmin(access, verbUpdate, func(ctx context.Context, user string, x echo.Context) (any, error) {
		id, err := loadBalancerOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Uncordon(ctx, user, id)
	}), admins...)
}

// asAdmin makes a handler of a call: it authenticates the admin, checks the right, and
// writes the answer. user is the name that the API server knows the caller by.
func asAdmin(access *access, verb string, call func(ctx context.Context, user string, x echo.Context) (any, error)) echo.HandlerFunc {
	return func(x echo.Context) error {
		user, err := access.admin(x, verb)
		if err != nil {
			return err
		}
		v, err := call(x.Request().Context(), user, x)
		if err != nil {
			return err
		}
		return x.JSON(http.StatusOK, v)
	}
}

// The names that a path may hold. Nothing else can exist, so it is refused before it
// reaches the API server.
var (
	loadBalancerID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
	namespaceName  = regexp.MustCompile(`^[0-9a-z-]{1,63}$`)
	podName        = regexp.MustCompile(`^[0-9a-z.-]{1,253}$`)
)

func loadBalancerOf(x echo.Context) (string, error) {
	id := x.Param("loadBalancer")
	if !loadBalancerID.MatchString(id) {
		return "", api.Errorf(api.Malformed, "load balancer %q is not an ID: use the last part of its ARN", id)
	}
	return id, nil
}

func portOf(x echo.Context) (id string, port int, err error) {
	if id, err = loadBalancerOf(x); err != nil {
		return "", 0, err
	}
	text := x.Param("port")
	if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 || text != strconv.Itoa(port) {
		return "", 0, api.Errorf(api.Malformed, "port %q is not a number from 1 to 65535", text)
	}
	return id, port, nil
}

func podOf(x echo.Context) (namespace, pod string, err error) {
	namespace, pod = x.Param("namespace"), x.Param("pod")
	if !namespaceName.MatchString(namespace) || !podName.MatchString(pod) {
		return "", "", api.Errorf(api.Malformed, "%q/%q is not a pod: use its namespace and name", namespace, pod)
	}
	return namespace, pod, nil
}

func reasonOf(x echo.Context) (string, error) {
	r, err := decode[api.ReasonRequest](x)
	if err != nil {
		return "", err
	}
	if err := r.Validate(); err != nil {
		return "", api.Errorf(api.Invalid, "%v", err)
	}
	return r.Reason, nil
}
