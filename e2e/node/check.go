//go:build linux

package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/portlease/portlease/deploy/tests/chart"
)

// finding is a row of the table that allocator check prints.
type finding struct{ state, say string }

// columns matches the gap between columns, which is at least two spaces.
var columns = regexp.MustCompile(`\s{2,}`)

// check runs allocator check in the allocator's pod, as docs/install.md says. It
// gives the rows by their subject, the whole output, and the exit error.
func (c *cluster) check(ctx context.Context) (map[string]finding, string, error) {
	table, err := c.kubectl(ctx, "exec", "--namespace", chart.Namespace, "deploy/portlease-allocator", "--", "/allocator", "check")
	found := make(map[string]finding)
	for line := range strings.Lines(table) {
		if row := columns.Split(strings.TrimSpace(line), 3); len(row) == 3 {
			found[row[1]] = finding{row[0], row[2]}
		}
	}
	return found, table, err
}

// checked checks the installation three times: as it is, with a load balancer that
// the test has broken, and after the repair that the table names.
func checked(ctx context.Context, c *cluster) error {
	if err := c.checkFindsNoProblem(ctx); err != nil {
		return err
	}
	broken, other := c.loadBalancers[0], c.loadBalancers[1]
	if err := setCrossZone(ctx, c.operator, broken, false); err != nil {
		return err
	}
	found, table, err := c.check(ctx)
	if repaired := setCrossZone(ctx, c.operator, broken, true); repaired != nil {
		return repaired
	}
	if err == nil || !strings.Contains(err.Error(), "command terminated with exit code 1\n") {
		return fmt.Errorf("with cross-zone off it ends with %v, and this table:\n%s", err, table) //nolint:errorlint // nil, too
	}
	if row := found[loadBalancerRow(broken)]; row.state != "error" || !strings.Contains(row.say, "set load_balancing.cross_zone.enabled=true") {
		return fmt.Errorf("with cross-zone off it says of that load balancer %q:\n%s", row, table)
	}
	if row := found[loadBalancerRow(other)]; row.state != "ok" {
		return fmt.Errorf("with cross-zone off of one it says of the other load balancer %q:\n%s", row, table)
	}
	return c.checkFindsNoProblem(ctx)
}

// loadBalancerRow gives the subject of a load balancer's row.
func loadBalancerRow(arn string) string {
	_, name, _ := strings.Cut(arn, ":loadbalancer/net/")
	return "load balancer " + name + " in pool default"
}

// checkFindsNoProblem requires a row for everything that the allocator depends on,
// and no problem in any of them.
func (c *cluster) checkFindsNoProblem(ctx context.Context) error {
	found, table, err := c.check(ctx)
	if err != nil {
		return fmt.Errorf("it finds something:\n%s%w", table, err)
	}
	wanted := []string{
		"pool file", "TLS key pair", "ledger",
		"Kubernetes: create tokenreviews.authentication.k8s.io", "Kubernetes: delete leases.coordination.k8s.io in " + chart.Namespace,
		"Kubernetes: get secrets portlease-tls in " + chart.Namespace, "Kubernetes: update configmaps portlease-ca in " + gamesNamespace,
		"AWS: limits", "AWS: target groups", "AWS: load balancers", "AWS: listeners", "AWS: tags", "AWS: target health",
		"ports of pool default", "target groups for all ports",
	}
	for _, arn := range c.loadBalancers {
		wanted = append(wanted, loadBalancerRow(arn))
	}
	for _, what := range wanted {
		if found[what].state != "ok" {
			return fmt.Errorf("it says of %q %q:\n%s", what, found[what], table)
		}
	}
	for what, row := range found {
		if row.state == "error" || row.state == "warning" {
			return fmt.Errorf("it says of %q %q, and that is no reason to fail:\n%s", what, row, table)
		}
	}
	return nil
}
