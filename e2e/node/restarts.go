//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/deploy/tests/chart"
)

func recreated(ctx context.Context, c *cluster) error {
	const name = "tcp-echo-0"
	before, err := c.kube.CoreV1().Pods(gamesNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the pod: %w", err)
	}
	if _, err := c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, name); err != nil {
		return err
	}
	pods, err := c.answering(ctx, "tcp-echo-", 2)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Name == name && (p.UID == before.UID || endpointOf(p) != endpointOf(*before)) {
			return fmt.Errorf("it was %s at %s and is %s at %s", before.UID, endpointOf(*before), p.UID, endpointOf(p))
		}
	}
	return nil
}

// undisturbed requires that no packet to or from the pods is lost while do runs.
func (c *cluster) undisturbed(ctx context.Context, prefix string, do func() error) error {
	pods, err := c.pods(ctx, prefix)
	if err != nil {
		return err
	}
	var players []*player
	for _, p := range pods {
		player, err := newPlayer(ctx, endpointOf(p))
		if err != nil {
			return err
		}
		players = append(players, player)
	}
	errs := []error{do()}
	for i, p := range players {
		if err := p.stop(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", pods[i].Name, err))
		}
	}
	if len(players) == 0 {
		errs = append(errs, errors.New("there are no games to play"))
	}
	return errors.Join(errs...)
}

func (c *cluster) rollout(ctx context.Context, namespace, deployment string) error {
	if _, err := c.kubectl(ctx, "rollout", "restart", "--namespace", namespace, deployment); err != nil {
		return err
	}
	_, err := c.kubectl(ctx, "rollout", "status", "--namespace", namespace, deployment, "--timeout", patience.String())
	return err
}

func allocatorRestarted(ctx context.Context, c *cluster) error {
	before, err := c.pods(ctx, "")
	if err != nil {
		return err
	}
	if err := c.undisturbed(ctx, "udp-echo", func() error { return c.rollout(ctx, chart.Namespace, "deployment/portlease-allocator") }); err != nil {
		return err
	}
	after, err := c.answering(ctx, "", len(before))
	if err != nil {
		return err
	}
	for i, p := range after {
		if endpointOf(p) != endpointOf(before[i]) {
			return fmt.Errorf("%s was at %s and is at %s", p.Name, endpointOf(before[i]), endpointOf(p))
		}
	}
	return nil
}

func gamesRestarted(ctx context.Context, c *cluster) error {
	if err := c.undisturbed(ctx, "udp-echo-labeled", func() error { return c.rollout(ctx, gamesNamespace, "deployment/udp-echo") }); err != nil {
		return err
	}
	_, err := c.answering(ctx, "", 6)
	return err
}

func nodeRestarted(ctx context.Context, c *cluster) error {
	before, err := c.answering(ctx, "", 6)
	if err != nil {
		return err
	}
	if err := c.powerCut(ctx); err != nil {
		return err
	}
	if err := c.boot(ctx); err != nil {
		return err
	}
	after, err := c.answering(ctx, "", 6)
	if err != nil {
		return err
	}
	addresses := make(map[string]string)
	for _, p := range before {
		addresses[p.Name] = p.Status.PodIP
	}
	for _, p := range after {
		if addresses[p.Name] == p.Status.PodIP {
			return fmt.Errorf("%s has the same address %s: nothing was shown", p.Name, p.Status.PodIP)
		}
	}
	return nil
}
