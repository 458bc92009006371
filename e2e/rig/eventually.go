package rig

import (
	"context"

	"github.com/portlease/portlease/e2e/kubeapi"
)

// Eventually calls ask until it returns no error. It gives up after a generous time
// or with ctx, and returns the last error.
func Eventually(ctx context.Context, what string, ask func() error) error {
	return kubeapi.Eventually(ctx, patience, what, ask)
}
