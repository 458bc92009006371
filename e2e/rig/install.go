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
	for _, name := range []string{"allocator.yaml", "agent.yaml"} {
		text, err := os.ReadFile(filepath.Join(root(), "deploy", "rbac", name))
		if err != nil {
			return fmt.Errorf("reading the manifests: %w", err)
		}
		if err := r.Kube.Apply(ctx, []byte(r.renamed(string(text)))); err != nil {
			return fmt.Errorf("applying %s: %w", name, err)
		}
	}
	return nil
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

// pools writes the pool file.
func (r *Rig) pools() (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "pools:\n- name: default\n  loadBalancers:\n")
	for _, arn := range r.LoadBalancerARNs {
		fmt.Fprintf(&text, "  - %s\n", arn)
	}
	fmt.Fprintf(&text, "  listenerPorts: [%q]\n", r.ListenerPorts)
	path := filepath.Join(r.dir, "pools.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return "", fmt.Errorf("writing the pool file: %w", err)
	}
	return path, nil
}
