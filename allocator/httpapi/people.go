package httpapi

import (
	"context"
	"net/http"
	"regexp"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

// Rights of people: verbs on Leases in the allocator's namespace. Whoever may
// see Leases may see what is made of them, and whoever may change them may close
// a port, because he could do so with kubectl.
const (
	verbList   = "list"
	verbGet    = "get"
	verbUpdate = "update"
)

// people mounts what people and tools see and do.
func (c Config) people(e *echo.Echo, prove *prover) {
	e.GET(api.PathPools, c.person(prove, verbList, func(ctx context.Context, _ string, _ echo.Context) (any, error) {
		list, err := c.Views.Pools(ctx)
		return completePools(list), err
	}))
	e.GET(api.PathPorts, c.person(prove, verbList, func(ctx context.Context, _ string, _ echo.Context) (any, error) {
		list, err := c.Views.Ports(ctx)
		list.Ports = orEmpty(list.Ports)
		return list, err
	}))
	e.GET(api.ClaimPath(":namespace", ":pod"), c.person(prove, verbGet, func(ctx context.Context, _ string, x echo.Context) (any, error) {
		namespace, pod, err := podOf(x)
		if err != nil {
			return nil, err
		}
		claim, err := c.Views.ClaimOf(ctx, namespace, pod)
		return completeClaim(claim), err
	}))
	const port, loadBalancer = api.PathPorts + "/:loadBalancer/:port", api.PathLoadBalancers + "/:loadBalancer"
	e.GET(port, c.person(prove, verbGet, func(ctx context.Context, _ string, x echo.Context) (any, error) {
		id, number, err := portOf(x)
		if err != nil {
			return nil, err
		}
		return c.Views.Port(ctx, id, number)
	}))
	e.POST(port+api.CallBlock, c.person(prove, verbUpdate, func(ctx context.Context, who string, x echo.Context) (any, error) {
		id, number, err := portOf(x)
		if err != nil {
			return nil, err
		}
		reason, err := reasonOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Block(ctx, who, id, number, reason)
	}))
	e.POST(port+api.CallUnblock, c.person(prove, verbUpdate, func(ctx context.Context, who string, x echo.Context) (any, error) {
		id, number, err := portOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Unblock(ctx, who, id, number)
	}))
	e.POST(loadBalancer+api.CallCordon, c.person(prove, verbUpdate, func(ctx context.Context, who string, x echo.Context) (any, error) {
		id, err := loadBalancerOf(x)
		if err != nil {
			return nil, err
		}
		reason, err := reasonOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Cordon(ctx, who, id, reason)
	}))
	e.POST(loadBalancer+api.CallUncordon, c.person(prove, verbUpdate, func(ctx context.Context, who string, x echo.Context) (any, error) {
		id, err := loadBalancerOf(x)
		if err != nil {
			return nil, err
		}
		return c.Operations.Uncordon(ctx, who, id)
	}))
}

// person makes a handler of a call: it proves who calls, asks for the right, and
// writes the answer. who is the name that the API server knows the caller by.
func (c Config) person(prove *prover, verb string, call func(ctx context.Context, who string, x echo.Context) (any, error)) echo.HandlerFunc {
	return func(x echo.Context) error {
		ctx := x.Request().Context()
		who, err := prove.person(x)
		if err != nil {
			return err
		}
		if err := c.Callers.Allowed(ctx, who, verb); err != nil {
			return err
		}
		v, err := call(ctx, who.User, x)
		if err != nil {
			return err
		}
		return x.JSON(http.StatusOK, v)
	}
}

// What a path may name. Anything else could never exist, and must not reach an
// API server that would wonder about it.
var (
	loadBalancerID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
	namespaceName  = regexp.MustCompile(`^[0-9a-z-]{1,63}$`)
	podName        = regexp.MustCompile(`^[0-9a-z.-]{1,253}$`)
)

func loadBalancerOf(x echo.Context) (string, error) {
	id := x.Param("loadBalancer")
	if !loadBalancerID.MatchString(id) {
		return "", api.Errorf(api.Malformed, "load balancer %q is not an id: use the last part of its ARN", id)
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
		return "", "", api.Errorf(api.Malformed, "%q/%q cannot be a pod: use its namespace and name", namespace, pod)
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
