package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// install makes the namespaces and applies the very manifests that an operator
// would, with the rig's namespaces instead of the manifests' own.
func (r *Rig) install(ctx context.Context) error {
	var err error
	if r.Namespace, err = r.Kube.Namespace(ctx, "portlease"); err != nil {
		return err
	}
	if r.Games, err = r.Kube.Namespace(ctx, "games"); err != nil {
		return err
	}
	// The policy names no namespace: rigs that share an API server share it.
	for _, name := range []string{"rbac/allocator.yaml", "rbac/agent.yaml", "policy/agent.yaml"} {
		text, err := os.ReadFile(filepath.Join(root(), "deploy", name))
		if err != nil {
			return fmt.Errorf("reading the manifests: %w", err)
		}
		if err := r.Kube.Apply(ctx, []byte(r.renamed(string(text)))); err != nil {
			return fmt.Errorf("applying %s: %w", name, err)
		}
	}
	return r.SetPools(r.PoolText(r.LoadBalancerARNs, r.Pool))
}

var namespaceField = regexp.MustCompile(`(?m)^(\s*namespace: )(portlease|games)$`)

// renamed puts the rig's namespaces in and gives what belongs to the whole
// cluster a name of this rig's own.
func (r *Rig) renamed(manifest string) string {
	names := map[string]string{"portlease": r.Namespace, "games": r.Games}
	var documents []string
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		switch {
		case strings.Contains(document, "kind: Namespace\n"):
			continue // it exists
		case strings.Contains(document, "kind: ClusterRoleBinding\n"):
			document = strings.Replace(document, "  name: portlease-allocator\n", "  name: portlease-allocator-"+r.Namespace+"\n", 1)
		}
		documents = append(documents, namespaceField.ReplaceAllStringFunc(document, func(field string) string {
			m := namespaceField.FindStringSubmatch(field)
			return m[1] + names[m[2]]
		}))
	}
	return strings.Join(documents, "\n---\n")
}

// PoolText is the pool file that a Rig starts with; more is YAML that is added to
// its one pool.
func (r *Rig) PoolText(loadBalancerARNs []string, more string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%spools:\n- name: default\n  loadBalancers:\n", r.Budget)
	for _, arn := range loadBalancerARNs {
		fmt.Fprintf(&text, "  - %s\n", arn)
	}
	fmt.Fprintf(&text, "  listenerPorts: [%q]\n  cooldown: %v\n  sticky: %v\n%s", r.ListenerPorts, r.Cooldown, r.Sticky, more)
	return text.String()
}

// SetPools exchanges the pool file, as a changed ConfigMap does.
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
