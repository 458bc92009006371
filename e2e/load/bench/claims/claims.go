// Package claims measures first claims against their floor: the calls to the API server
// that no allocator could do without.
//
// Both sides run against one API server, in turn, in several rounds: so many callers at
// once, pods that exist, tokens that nobody has reviewed before. The floor makes the calls
// with client-go, in the encoding and with the rights of the allocator. AWS's budget is
// raised, so that it is no limit, and connections are open before the clock starts.
package claims

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/bench/site"
)

// Case is one size of the installation.
type Case struct {
	Replicas int
	// Leases are in the ledger before: half of them claims, half bound ports.
	Leases int
}

// String implements fmt.Stringer.
func (c Case) String() string { return fmt.Sprintf("replicas %d, leases %d", c.Replicas, c.Leases) }

// Cases are those of a whole run. The ledger only grows from one to the next.
var Cases = []Case{{1, 100}, {1, 1000}, {2, 1000}, {3, 1000}, {1, 10000}}

// ParseCases reads cases such as "1:100,3:1000": replicas and leases.
func ParseCases(text string) (cases []Case, err error) {
	most := 0
	for one := range strings.SplitSeq(text, ",") {
		var c Case
		if n, err := fmt.Sscanf(one+" ", "%d:%d ", &c.Replicas, &c.Leases); n != 2 || err != nil || c.Replicas < 1 || c.Leases < most {
			return nil, fmt.Errorf("%q is not replicas:leases, such as 1:1000, with no fewer leases than before it", one)
		}
		most = c.Leases
		cases = append(cases, c)
	}
	return cases, nil
}

// Config configures a measurement; all of it is required.
type Config struct {
	Kube  *kubeapi.API
	Cases []Case
	// Callers call at once. Each round has so many Claims for each side.
	Callers, Claims, Rounds int
	Progress                io.Writer
	Say                     func(format string, args ...any)
}

// Measure runs all cases in one installation.
func Measure(ctx context.Context, c Config) (t report.Table, err error) {
	most, loadBalancers := 1, 1
	for _, one := range c.Cases {
		most, loadBalancers = max(most, one.Replicas), max(loadBalancers, c.loadBalancers(one))
	}
	s, err := site.New(ctx, site.Config{Kube: c.Kube, Replicas: most, LoadBalancers: loadBalancers, Progress: c.Progress})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	pods, err := s.MakePods(ctx, "game", c.Claims)
	if err != nil {
		return t, err
	}
	t = c.table()
	for _, one := range c.Cases {
		c.Say("claims: %v", one)
		row, err := c.measure(ctx, s, one, pods)
		if err != nil {
			return t, fmt.Errorf("measuring claims with %v: %w", one, err)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// loadBalancers is how many load balancers the pool of a case has: for its bound ports, for
// the claims of a round, and as many free ports again.
func (c Config) loadBalancers(one Case) int {
	return (one.Leases/2+2*c.Claims)/site.PortsEach + 1
}

func (c Config) table() report.Table {
	return report.Table{
		Name: "claims",
		About: fmt.Sprintf("PUT claims by %d callers against the bare calls to the API server (TokenReview, GET pod, POST claim lease, POST port lease); "+
			"%d rounds of %d claims on either side, in turn", c.Callers, c.Rounds, c.Claims),
		Columns: []report.Column{
			{Name: "claims/s ÷ floor", Target: "≥ 0.50"}, {Name: "p50 ÷ floor"}, {Name: "p99 ÷ floor", Target: "≤ 2"},
			{Name: "allocator ms/claim", Target: "≤ 2.5"}, {Name: "API calls/claim", Target: "≤ 5"}, {Name: "refused %"},
			{Name: "idle % of a core"}, {Name: "resident MiB"}, {Name: "floor claims/s"},
		},
	}
}

// measure runs the rounds of one case.
func (c Config) measure(ctx context.Context, s *site.Site, one Case, pods []*site.Pod) (row report.Row, err error) {
	if err := s.Fill(ctx, one.Leases/2); err != nil {
		return row, err
	}
	replicas, err := s.Serve(ctx, one.Replicas, c.loadBalancers(one))
	if err != nil {
		return row, err
	}
	o := newOurs(s, replicas, c.Callers)
	defer o.close()
	warm, err := o.round(ctx, pods)
	if err != nil {
		return row, err
	}
	f, err := newFloor(ctx, s, warm.claims[0], c.Callers)
	if err != nil {
		return row, err
	}
	if err := errors.Join(o.clear(ctx, pods, warm), f.warm(ctx, pods)); err != nil {
		return row, err
	}
	row.Case = one.String()
	figures := make([][]float64, len(c.table().Columns))
	for n := range c.Rounds {
		got, err := turn(ctx, o, f, pods, n%2 == 0)
		if err != nil {
			return row, err
		}
		for i, v := range got.figures() {
			figures[i] = append(figures[i], v)
		}
	}
	for _, f := range figures {
		row.Figures = append(row.Figures, report.Of(f...))
	}
	return row, nil
}
