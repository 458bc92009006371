package ledger_test

import (
	"context"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
)

// An admin closes a port, whoever else writes its record at the same time. The
// holder keeps the port; it is blocked once it is free.
func ExampleChange() {
	ctx, ports := context.Background(), ledgermem.NewTable(ledgermem.New().Ports, ledgermem.Direct, nil)
	lease := ledger.PortName("0123456789abcdef", 7000)
	if _, err := ports.Create(ctx, lease, ledger.Port{State: ledger.Bound, Holder: "claim-a"}); err != nil {
		fmt.Println(err)
	}

	r, wrote, err := ledger.Change(ctx, ports, lease, func(r ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		next := r.Value
		next.BlockedBy = "alice: flood"
		next = next.Reconsidered()
		return next, next != r.Value, nil
	})
	fmt.Println(r.Value.State, r.Value.BlockedBy, wrote, err)

	_, _, err = ledger.Change(ctx, ports, "no-such-port", func(r ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		return r.Value, true, nil
	})
	fmt.Println(err)
	// Output:
	// bound alice: flood true <nil>
	// no such record: no-such-port
}

// A port goes from holder to holder. Every holding has its own fence.
func ExamplePort_BeginRelease() {
	port := ledger.Port{State: ledger.Claimed, Holder: "claim-a", Epoch: "e", Generation: 1}
	fmt.Println(port.BeginRelease(ledger.AgentAbsent).State) // no listener can exist
	port.TargetGroupARN = "arn:aws:elasticloadbalancing:…"
	fmt.Println(port.BeginRelease(ledger.AgentAbsent).State) // a listener may exist
	// Output:
	// free
	// releasing
}
