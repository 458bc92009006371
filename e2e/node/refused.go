//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// refused creates pods that cannot get a port, each for another reason. It requires
// that the reason is where an operator looks first.
func refused(ctx context.Context, c *cluster) error {
	for _, step := range []struct {
		what string
		do   func(context.Context, *cluster) error
	}{
		{"another namespace", otherNamespace}, {"on the host network, by hand", hostNetworkByHand},
		{"on the host network, by label", hostNetworkByLabel}, {"no token", noToken},
	} {
		if err := step.do(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// described waits until kubectl describe of an object contains the text, and then
// deletes the object.
func (c *cluster) described(ctx context.Context, namespace, thing, text string) error {
	if err := c.eventually(ctx, patience, fmt.Sprintf("%s to be described with %q", thing, text), func(ctx context.Context) error {
		said, err := c.kubectl(ctx, "describe", "--namespace", namespace, thing)
		if err == nil && !strings.Contains(said, text) {
			err = errors.New(said[strings.Index(said, "Events:"):])
		}
		return err
	}); err != nil {
		return err
	}
	_, err := c.kubectl(ctx, "delete", "--namespace", namespace, thing, "--grace-period=1")
	return err
}

func named(name, namespace string, more func(pod map[string]any)) func(map[string]any) {
	return func(object map[string]any) {
		metadata := object["metadata"].(map[string]any)
		metadata["name"], metadata["namespace"] = name, namespace
		if more != nil {
			more(podOf(object))
		}
	}
}

func otherNamespace(ctx context.Context, c *cluster) error {
	for _, args := range [][]string{{"create", "namespace", "elsewhere"}, {"create", "serviceaccount", "game", "--namespace", "elsewhere"}} {
		if _, err := c.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	if err := c.apply(ctx, "udp-echo/pod.yaml", named("other", "elsewhere", nil)); err != nil {
		return err
	}
	return c.described(ctx, "elsewhere", "pod/other", `configmap "portlease-ca" not found`)
}

func hostNetworkByHand(ctx context.Context, c *cluster) error {
	if err := c.apply(ctx, "udp-echo/pod.yaml", named("on-host", gamesNamespace, func(pod map[string]any) {
		pod["hostNetwork"] = true
		pod["dnsPolicy"] = "ClusterFirstWithHostNet"
	})); err != nil {
		return err
	}
	return c.described(ctx, gamesNamespace, "pod/on-host", "host network")
}

func hostNetworkByLabel(ctx context.Context, c *cluster) error {
	if err := c.apply(ctx, "udp-echo/labeled.yaml", named("labeled-on-host", gamesNamespace, func(pod map[string]any) { pod["hostNetwork"] = true })); err != nil {
		return err
	}
	defer func() { _, _ = c.kubectl(ctx, "delete", "--namespace", gamesNamespace, "deployment/labeled-on-host") }()
	return c.eventually(ctx, patience, "its events to say why there is no pod", func(ctx context.Context) error {
		said, err := c.kubectl(ctx, "get", "events", "--namespace", gamesNamespace)
		if err == nil && !strings.Contains(said, "a pod on the host network has no address of its own") {
			err = errors.New(said)
		}
		return err
	})
}

func noToken(ctx context.Context, c *cluster) error {
	if err := c.apply(ctx, "udp-echo/pod.yaml", named("no-token", gamesNamespace, func(pod map[string]any) {
		for _, v := range pod["volumes"].([]any) {
			volume := v.(map[string]any)
			if projected, ok := volume["projected"].(map[string]any); ok {
				projected["sources"] = projected["sources"].([]any)[1:] // all but the allocator token
			}
		}
	})); err != nil {
		return err
	}
	return c.described(ctx, gamesNamespace, "pod/no-token", "token")
}
