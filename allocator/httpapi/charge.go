package httpapi

import "context"

type chargeKey struct{}

// WithCharge gives the context of a call, to which Charge charges what is done for it.
func WithCharge(ctx context.Context, charge func(calls int) error) context.Context {
	return context.WithValue(ctx, chargeKey{}, charge)
}

// Charge charges describe calls to AWS to the pod for whose call they are made, or
// refuses them with rate_limited. What the allocator does for itself costs nobody.
func Charge(ctx context.Context, calls int) error {
	charge, ok := ctx.Value(chargeKey{}).(func(calls int) error)
	if !ok {
		return nil
	}
	return charge(calls)
}
