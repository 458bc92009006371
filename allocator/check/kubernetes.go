package check

import (
	"context"

	"github.com/portlease/portlease/allocator/auth"
)

// Kubernetes is what is asked of the API server.
type Kubernetes interface {
	Has(ctx context.Context, r auth.Right) (bool, error)
}

// Kubernetes asks for the ledger's id and for every one of rights. The id is empty
// if it cannot be read.
func (r *Report) Kubernetes(ctx context.Context, ledger func(context.Context) (string, error), kube Kubernetes, rights []auth.Right) (id string) {
	id, err := ledger(ctx)
	r.judge("ledger", id, err)
	for _, right := range rights {
		what := "Kubernetes: " + right.String()
		has, err := kube.Has(ctx, right)
		switch {
		case err != nil:
			r.add(what, NotChecked, "because %v", err)
		case has:
			r.add(what, OK, "allowed")
		default:
			r.add(what, Wrong, "not allowed: %s grants it to the allocator; whoever else looks is judged by rights of his own", grantedBy(right))
		}
	}
	return id
}

// grantedBy is the command that grants a right, with the values of the chart that
// matter.
func grantedBy(right auth.Right) string {
	switch right.Resource {
	case "configmaps":
		return "helm upgrade with each of trust-namespaces in games"
	case "secrets":
		return "helm upgrade with tls.from as self"
	}
	return "helm upgrade"
}
