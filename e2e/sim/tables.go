package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
)

// tables are the ledger as one replica has it: calls go through the scheduler, and
// the cache hears late.
type tables struct {
	claims  ledgermem.ClaimTable
	ports   *ledgermem.Table[ledger.Port]
	cordons *ledgermem.Table[ledger.Cordon]
	budgets *ledgermem.Table[ledger.Budget]
}

func newTables(p *Process, l *ledgermem.Ledger, lag func() time.Duration) tables {
	return tables{
		claims: ledgermem.NewClaimTable(l.Claims, p.ledgerCall, lag), ports: ledgermem.NewTable(l.Ports, p.ledgerCall, lag),
		cordons: ledgermem.NewTable(l.Cordons, p.ledgerCall, lag), budgets: ledgermem.NewTable(l.Budgets, p.ledgerCall, lag),
	}
}

func (t tables) deliver(now time.Time) {
	t.claims.Deliver(now)
	t.ports.Deliver(now)
	t.cordons.Deliver(now)
	t.budgets.Deliver(now)
}

func (t tables) close() {
	t.claims.Close()
	t.ports.Close()
	t.cordons.Close()
	t.budgets.Close()
}

// ledgerCall is the ledgermem.Network of a process.
func (p *Process) ledgerCall(ctx context.Context, c ledgermem.Call, apply func() error) error {
	k := kindRead
	if c.Write() {
		k = kindWrite
	}
	_, err := ask(ctx, p, k, c.String()+show(c.Value), func() (struct{}, error) { return struct{}{}, apply() })
	return err
}

// show describes a record in a trace.
func show(value any) string {
	switch v := value.(type) {
	case ledger.Port:
		part := ""
		if v.Agent != "" {
			part = " agent=" + string(v.Agent)
		}
		return fmt.Sprintf(" {%s gen %d holder %q%s tg=%.8s}", v.State, v.Generation, v.Holder, part, ledger.LoadBalancerID(v.TargetGroupARN))
	case ledger.Claim:
		words := []string{fmt.Sprintf(" {%s ip %s", v.State, v.PodIP)}
		for _, p := range v.Ports {
			words = append(words, fmt.Sprintf("%d.%d", p.ListenerPort, p.Fence.Generation))
		}
		return strings.Join(words, " ") + "}"
	}
	return ""
}
