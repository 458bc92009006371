//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/deploy/tests/chart"
)

func (c *cluster) uninstall(ctx context.Context) error {
	_, err := c.helm.Run(ctx, "uninstall", chart.Release, "--namespace", chart.Namespace)
	return err
}

// released lists the objects of the Helm release as they are in the cluster. A
// missing object is an error.
func (c *cluster) released(ctx context.Context) (string, error) {
	manifest, err := c.helm.Run(ctx, "get", "manifest", chart.Release, "--namespace", chart.Namespace)
	if err != nil {
		return "", err
	}
	file := c.file("release.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return "", fmt.Errorf("writing the release's manifest: %w", err)
	}
	return c.kubectl(ctx, "get", "-f", file, "--no-headers", "-o", "custom-columns=:.kind,:.metadata.name,:.metadata.uid,:.metadata.deletionTimestamp")
}

// uninstallRefused tries to uninstall the release while games run.
func uninstallRefused(ctx context.Context, c *cluster) error {
	before, err := c.released(ctx)
	if err != nil {
		return err
	}
	if err := c.undisturbed(ctx, "udp-echo", func() error { return c.uninstallIsRefused(ctx) }); err != nil {
		return err
	}
	after, err := c.released(ctx)
	if err != nil {
		return err
	}
	if before == "" || after != before {
		return fmt.Errorf("before, the release had:\n%sand has now:\n%s", before, after)
	}
	if deployed, err := c.helm.Run(ctx, "list", "--namespace", chart.Namespace, "--deployed", "--short"); err != nil || deployed != chart.Release+"\n" {
		return errors.Join(fmt.Errorf("of deployed releases Helm lists %q", deployed), err)
	}
	allocator, err := c.kube.AppsV1().Deployments(chart.Namespace).Get(ctx, "portlease-allocator", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the allocator: %w", err)
	}
	if allocator.Status.ReadyReplicas != 2 {
		return fmt.Errorf("%d replicas of the allocator are ready", allocator.Status.ReadyReplicas)
	}
	if err := c.holdersAreListed(ctx); err != nil {
		return err
	}
	if _, err := c.startBarePod(ctx, nil); err != nil {
		return err
	}
	_, err = c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, barePod)
	return err
}

// uninstallIsRefused requires that Helm refuses and names the cause and the remedy.
func (c *cluster) uninstallIsRefused(ctx context.Context) error {
	err := c.uninstall(ctx)
	if err == nil {
		return errors.New("it was uninstalled")
	}
	for _, words := range []string{
		"pods still hold ports", "Stop the game servers first", "kubectl get leases -n " + chart.Namespace + " -L portlease.dev/state shows which are left",
		"To uninstall anyway: helm uninstall --no-hooks " + chart.Release + " -n " + chart.Namespace,
	} {
		if !strings.Contains(err.Error(), words) {
			return fmt.Errorf("it is not said that %q: %w", words, err)
		}
	}
	return nil
}

// holdersAreListed requires that the games still answer, and that the documented
// command lists each of them.
func (c *cluster) holdersAreListed(ctx context.Context) error {
	games, err := c.answering(ctx, "", 6)
	if err != nil {
		return err
	}
	leases, err := c.kubectl(ctx, "get", "leases", "-n", chart.Namespace, "-L", "portlease.dev/state")
	if err != nil {
		return err
	}
	for _, p := range games {
		if !strings.Contains(leases, gamesNamespace+"/"+p.Name+" ") {
			return fmt.Errorf("%s is not among those that are left:\n%s", p.Name, leases)
		}
	}
	return nil
}

// uninstalled follows the steps of docs/install.md for removing everything.
func uninstalled(ctx context.Context, c *cluster) error {
	if before, err := c.held(ctx); err != nil || before < 6 {
		return errors.Join(fmt.Errorf("with games on there are %d leases of what is held", before), err)
	}
	for _, args := range [][]string{
		{"delete", "deployments,statefulsets", "--all", "--namespace", gamesNamespace, "--cascade=foreground"},
		{"delete", "pods", "--all", "--namespace", gamesNamespace},
		{"wait", "--for=delete", "lease/portlease-held", "--namespace", chart.Namespace},
	} {
		if _, err := c.kubectl(ctx, append(args, "--timeout="+patience.String())...); err != nil {
			return err
		}
	}
	if err := c.uninstall(ctx); err != nil {
		return err
	}
	// No part is left that could reclaim anything.
	if s := c.aws.Snapshot(); len(s.Listeners) > 0 || len(s.TargetGroups) > 0 {
		return fmt.Errorf("in AWS there are left %v and %v", s.Listeners, s.TargetGroups)
	}
	if after, err := c.held(ctx); err != nil || after > 0 {
		return errors.Join(fmt.Errorf("%d leases still say that something is held", after), err)
	}
	ca, tls, trust := "portlease-ca", "portlease-tls", "portlease-trust"
	if err := c.left(ctx, "ConfigMap "+gamesNamespace+" "+ca, "ConfigMap "+chart.Namespace+" "+ca, "Namespace <none> "+chart.Namespace, "Secret "+chart.Namespace+" "+tls, "Secret "+chart.Namespace+" "+trust); err != nil {
		return err
	}
	for _, args := range [][]string{{"delete", "namespace", chart.Namespace}, {"delete", "configmap", "--namespace", gamesNamespace, ca}} {
		if _, err := c.kubectl(ctx, append(args, "--timeout="+patience.String())...); err != nil {
			return err
		}
	}
	return c.left(ctx)
}

// held counts the leases of held ports and of claims.
func (c *cluster) held(ctx context.Context) (int, error) {
	leases, err := c.kube.CoordinationV1().Leases(chart.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "portlease.dev/state in (claimed, bound, waiting, granted, releasing, held)",
	})
	if err != nil {
		return 0, fmt.Errorf("listing leases: %w", err)
	}
	return len(leases.Items), nil
}

// left requires that only the wanted objects in the cluster have the project's name,
// each as kind, namespace and name, in alphabetical order. It does not count Leases
// in the allocator's namespace. It does not count events either, which Kubernetes
// keeps for a while.
func (c *cluster) left(ctx context.Context, wanted ...string) error {
	listed, err := c.kubectl(ctx, "api-resources", "--verbs=list", "-o", "name")
	if err != nil {
		return err
	}
	resources := slices.DeleteFunc(strings.Fields(listed), func(name string) bool { return name == "events" || name == "events.events.k8s.io" })
	var found []string
	return c.eventually(ctx, patience, fmt.Sprintf("%q to be all that is left", wanted), func(ctx context.Context) error {
		all, err := c.kubectl(ctx, "get", strings.Join(resources, ","), "--all-namespaces", "--no-headers", "-o", "custom-columns=:.kind,:.metadata.namespace,:.metadata.name")
		if err != nil {
			return fmt.Errorf("there were %q: %w", found, err) // the last list may be incomplete
		}
		found = nil
		for line := range strings.Lines(all) {
			object := strings.Fields(line)
			if len(object) == 3 && strings.Contains(object[2], "portlease") && !slices.Equal(object[:2], []string{"Lease", chart.Namespace}) {
				found = append(found, strings.Join(object, " "))
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, wanted) {
			return fmt.Errorf("there are %q", found)
		}
		return nil
	})
}
