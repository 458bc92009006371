package paced_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/paced"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// TestDescribesForAPodAreChargedToIt, before the budget is asked for them. One that it has
// no right to is not made.
func TestDescribesForAPodAreChargedToIt(t *testing.T) {
	aws, leases := newPaced(t)
	charged := 0
	ctx := httpapi.WithCharge(t.Context(), func(calls int) error {
		if charged+calls > 3 {
			return api.Errorf(api.RateLimited, "too many")
		}
		charged += calls
		return nil
	})
	for n := range 3 {
		if _, err := aws.TargetGroups(ctx); err != nil || charged != n+1 {
			t.Fatalf("call %d: %v, charged %d", n, err, charged)
		}
	}
	before := leases.Budgets.Writes()
	if _, err := aws.TargetGroups(ctx); !errors.Is(err, &api.Problem{Code: api.RateLimited}) {
		t.Errorf("over the limit: %v", err)
	}
	if leases.Budgets.Writes() != before {
		t.Error("the call that was refused was paid for")
	}
	if _, err := aws.TargetGroups(t.Context()); err != nil || charged != 3 {
		t.Errorf("the allocator's own: %v, charged %d", err, charged)
	}
}

// TestDescribesAreReservedOnce: every describe call is reserved, except as many as were
// reserved before.
func TestDescribesAreReservedOnce(t *testing.T) {
	aws, leases := newPaced(t)
	two := paced.WithPrepaid(t.Context(), 2)
	for _, look := range []struct {
		ctx  context.Context
		pays bool
	}{{t.Context(), true}, {two, false}, {t.Context(), true}, {two, false}, {two, true}} {
		before := leases.Budgets.Writes()
		if _, err := aws.TargetGroups(look.ctx); err != nil {
			t.Fatal(err)
		}
		if paid := leases.Budgets.Writes() > before; paid != look.pays {
			t.Errorf("the look paid: %t, want %t", paid, look.pays)
		}
	}
}

// newPaced gives the client of an emulated AWS, and the ledger with its budget.
func newPaced(t *testing.T) (janitor.AWS, *ledgermem.Ledger) {
	t.Helper()
	emulator, err := elbemu.New(elbemu.Config{
		Region:  "us-east-1",
		VPCs:    []elbemu.VPC{{ID: "vpc-a", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
		Subnets: []elbemu.Subnet{{ID: "subnet-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "us-east-1a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	leases := ledgermem.New()
	pay := pacer.New(pacer.Config{
		Budgets: ledgermem.NewTable(leases.Budgets, ledgermem.Direct, nil),
		Claims:  ledgermem.NewClaimTable(leases.Claims, ledgermem.Direct, nil),
		Ports:   ledgermem.NewTable(leases.Ports, ledgermem.Direct, nil),
		Limits:  budget.Default, Now: time.Now, RenewEvery: time.Second,
		Age: func(string, string) time.Duration { return 0 }, Log: slog.New(slog.DiscardHandler), Count: func(string, string) {},
	})
	return paced.Client(elb.New(aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("A", "secret", ""), HTTPClient: &http.Client{Transport: emulator},
	}, nil), func() *pacer.Pacer { return pay }), leases
}
