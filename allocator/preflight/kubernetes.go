package preflight

import (
	"context"

	"github.com/portlease/portlease/allocator/kubepod"
)

// Kubernetes is what is asked of the API server.
type Kubernetes interface {
	Rights() []kubepod.Right
	Has(ctx context.Context, r kubepod.Right) (bool, error)
}

// Kubernetes asks for the ledger's id and for every right that the allocator
// uses. The id is empty if it cannot be read.
func (r *Report) Kubernetes(ctx context.Context, ledger func(context.Context) (string, error), kube Kubernetes) (id string) {
	id, err := ledger(ctx)
	r.judge("ledger", id, err)
	for _, right := range kube.Rights() {
		what := "Kubernetes: " + right.String()
		has, err := kube.Has(ctx, right)
		switch {
		case err != nil:
			r.add(what, NotChecked, "because %v", err)
		case has:
			r.add(what, OK, "allowed")
		default:
			r.add(what, Wrong, "not allowed: apply deploy/rbac/allocator.yaml, and run this as the allocator's service account")
		}
	}
	return id
}
