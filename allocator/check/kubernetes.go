package check

import (
	"context"

	"github.com/portlease/portlease/allocator/auth"
)

// Kubernetes asks the API server about rights of this process.
type Kubernetes interface {
	Has(ctx context.Context, r auth.Right) (bool, error)
}

// Kubernetes checks that the ledger's ID can be read and that this process has every
// right. The ID is empty if it cannot be read.
func (r *Report) Kubernetes(ctx context.Context, ledger func(context.Context) (string, error), kube Kubernetes, rights []auth.Right) (id string) {
	id, err := ledger(ctx)
	r.addResult("ledger", id, err)
	for _, right := range rights {
		what := "Kubernetes: " + right.String()
		has, err := kube.Has(ctx, right)
		switch {
		case err != nil:
			r.add(what, Unchecked, "%v", err)
		case has:
			r.add(what, OK, "allowed")
		default:
			r.add(what, Error, "not allowed: %s grants it to the allocator; outside the allocator's pod, these are your own rights", grantedBy(right))
		}
	}
	return id
}

// grantedBy is the command that grants a right, with the chart values that matter.
func grantedBy(right auth.Right) string {
	switch right.Resource {
	case "configmaps", "pods", "events":
		return "helm upgrade with each of trust-namespaces in games"
	case "secrets":
		return "helm upgrade with tls.from as self"
	}
	return "helm upgrade"
}
