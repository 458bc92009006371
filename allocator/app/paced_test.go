package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/elb"
)

// TestDescribesAreReservedOnce: every describe call is reserved, except one whose
// reservation was made before.
func TestDescribesAreReservedOnce(t *testing.T) {
	emulator, err := elbemu.New(elbemu.Config{
		Region:  "us-east-1",
		VPCs:    []elbemu.VPC{{ID: "vpc-a", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
		Subnets: []elbemu.Subnet{{ID: "subnet-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "us-east-1a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	}()
	leases := ledgermem.New()
	pay := pacer.New(pacer.Config{
		Budgets: ledgermem.NewTable(leases.Budgets, ledgermem.Direct, nil),
		Claims:  ledgermem.NewClaimTable(leases.Claims, ledgermem.Direct, nil),
		Ports:   ledgermem.NewTable(leases.Ports, ledgermem.Direct, nil),
		Limits:  budget.Default, Now: time.Now, RenewEvery: time.Second,
		Age: func(string, string) time.Duration { return 0 }, Log: slog.New(slog.DiscardHandler), Count: func(string, string) {},
	})
	aws := app.Paced(elb.New(aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("A", "secret", ""), HTTPClient: &http.Client{Transport: emulator},
	}, nil), pay)
	for _, look := range []struct {
		ctx  context.Context
		pays bool
	}{{t.Context(), true}, {app.WithPrepaid(t.Context()), false}, {t.Context(), true}} {
		before := leases.Budgets.Writes()
		if _, err := aws.TargetGroups(look.ctx); err != nil {
			t.Fatal(err)
		}
		if paid := leases.Budgets.Writes() > before; paid != look.pays {
			t.Errorf("the look paid: %t, want %t", paid, look.pays)
		}
	}
}
