package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portlease/portlease/deploy/tests/chart"
)

// install creates the namespaces and applies the chart's access rules from its golden
// file. It replaces the file's namespaces by the rig's.
func (r *Rig) install(ctx context.Context) error {
	var err error
	if r.Namespace, err = r.Kube.Namespace(ctx, chart.Namespace); err != nil {
		return err
	}
	if r.Games, err = r.Kube.Namespace(ctx, chart.Games); err != nil {
		return err
	}
	// The pods have their own service account, which the chart does not create.
	if _, err := r.Kube.ServiceAccount(ctx, r.Games, "game"); err != nil {
		return err
	}
	objects, err := ChartObjects()
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := r.Kube.Apply(ctx, []byte(o.In(r.Namespace, r.Games).Text)); err != nil {
			return err
		}
	}
	return r.SetPools(r.PoolText(r.LoadBalancerARNs, r.Pool))
}

// ChartObjects gives the objects of the chart that a rig applies.
func ChartObjects() ([]chart.Object, error) {
	text, err := os.ReadFile(filepath.Join(root(), "deploy", "tests", "chart", "testdata", "plain.golden.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the chart's golden file: %w", err)
	}
	objects, err := chart.Objects(string(text))
	return slices.DeleteFunc(objects, func(o chart.Object) bool { return !o.Confining() }), err
}

// PoolText gives the pool file of a new Rig. more is YAML that is added to its one
// pool.
func (r *Rig) PoolText(loadBalancerARNs []string, more string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%spools:\n- name: default\n  loadBalancers:\n", r.Budget)
	for _, arn := range loadBalancerARNs {
		fmt.Fprintf(&text, "  - %s\n", arn)
	}
	fmt.Fprintf(&text, "  listenerPorts: [%q]\n  cooldown: %v\n  sticky: %v\n%s", r.ListenerPorts, r.Cooldown, r.Sticky, more)
	return text.String()
}

// SetPools replaces the pool file, as a changed ConfigMap does.
func (r *Rig) SetPools(text string) error {
	next := r.poolFile() + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the pool file: %w", err)
	}
	if err := os.Rename(next, r.poolFile()); err != nil {
		return fmt.Errorf("exchanging the pool file: %w", err)
	}
	return nil
}

func (r *Rig) poolFile() string { return filepath.Join(r.dir, "pools.yaml") }
