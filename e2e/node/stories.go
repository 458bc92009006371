//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/deploy/tests/chart"
)

// stories run in this order. The games of the first one run through all of them.
var stories = []story{
	{name: "six games of three kinds, by hand and by label, are bound and answer", always: true, run: sixGames},
	{name: "the first line that a game logs shows its endpoint, from the environment and from the file", run: firstLine},
	{name: "a pod that is deleted is withdrawn at once, outlived by its agent, and leaves nothing in AWS", run: deleted},
	{name: "a pod that is deleted by force is reclaimed by the janitor, and not before its claim has expired", run: deletedByForce},
	{name: "a recreated pod of a StatefulSet gets its port again", run: recreated},
	{name: "a UDP game that is killed is told on its pod within 15 s, and so is its return", run: gameKilledUDP},
	{name: "a TCP game that is killed is told on its pod within 15 s, and so is its return", run: gameKilledTCP},
	{name: "a pod that cannot get a port is refused, and kubectl describe shows the reason", run: refused},
	{name: "the allocator is restarted, and no packet is lost", run: allocatorRestarted},
	{name: "a rollout replaces some games, and no packet of the others is lost", run: gamesRestarted},
	{name: "the node is restarted, its pods get other addresses, and every game is reachable again", run: nodeRestarted},
	{name: promptName + ", is measured for pods that start one after another", run: prompt},
	{name: "allocator check, run in the allocator's pod, finds no problem, and then the load balancer that was broken, with its remedy", run: checked},
	{name: "while games hold ports Helm refuses to uninstall the chart and says how to proceed, and the release stays complete", run: uninstallRefused},
	{name: "once the games are gone the chart is uninstalled, and only the objects that docs/install.md names are left", ends: true, run: uninstalled},
	{name: "the policies of deploy/iam, with an identity for each pod, allowed every AWS call of these stories", run: nothingRefused},
}

func sixGames(ctx context.Context, c *cluster) error {
	for _, name := range []string{"udp-echo/deployment.yaml", "tcp-echo/statefulset.yaml", "udp-echo/labeled.yaml"} {
		if err := c.apply(ctx, name, nil); err != nil {
			return err
		}
	}
	_, err := c.answering(ctx, "", 6)
	return err
}

func firstLine(ctx context.Context, c *cluster) error {
	pods, err := c.pods(ctx, "udp-echo-labeled")
	if err != nil {
		return err
	}
	for _, p := range pods {
		log, err := c.kubectl(ctx, "logs", "--namespace", gamesNamespace, p.Name, "--container", "game")
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(log, "\n")
		if want := fmt.Sprintf("udp-echo: endpoint %s (environment), %[1]s (file)", endpointOf(p)); !strings.HasPrefix(first, want) {
			return fmt.Errorf("the first line of %s is %q, want %q", p.Name, first, want)
		}
	}
	return nil
}

// lingering makes a bare pod whose game takes some seconds to stop, as a game that
// finishes its match does.
func lingering(seconds int) func(map[string]any) {
	return func(object map[string]any) {
		game := podOf(object)["containers"].([]any)[0].(map[string]any)
		game["lifecycle"] = map[string]any{"preStop": map[string]any{"sleep": map[string]any{"seconds": seconds}}}
	}
}

const barePod = "udp-echo"

// startBarePod starts the example pod and returns it once the game answers.
func (c *cluster) startBarePod(ctx context.Context, change func(map[string]any)) (corev1.Pod, error) {
	if err := c.apply(ctx, "udp-echo/pod.yaml", change); err != nil {
		return corev1.Pod{}, err
	}
	var pod *corev1.Pod
	err := c.eventually(ctx, patience, "the pod to answer", func(ctx context.Context) (err error) {
		if pod, err = c.kube.CoreV1().Pods(gamesNamespace).Get(ctx, barePod, metav1.GetOptions{}); err != nil {
			return err
		}
		return c.answers(ctx, *pod)
	})
	if err != nil {
		return corev1.Pod{}, err
	}
	return *pod, nil
}

func deleted(ctx context.Context, c *cluster) error {
	const linger = 6
	pod, err := c.startBarePod(ctx, lingering(linger))
	if err != nil {
		return err
	}
	endpoint := endpointOf(pod)
	agent, err := c.follow(pod, "portlease")
	if err != nil {
		return err
	}
	game, err := c.follow(pod, "game")
	if err != nil {
		return err
	}
	begun := time.Now()
	if _, err := c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, barePod, "--wait=false"); err != nil {
		return err
	}
	if err := c.eventually(ctx, patience, "the announcement to be withdrawn", func(ctx context.Context) error {
		p, err := c.kube.CoreV1().Pods(gamesNamespace).Get(ctx, barePod, metav1.GetOptions{})
		if err == nil && endpointOf(*p) != "" {
			err = errors.New("it is still there")
		}
		return err
	}); err != nil {
		return err
	}
	if _, err := say(ctx, "udp", endpoint, "still on"); err != nil {
		return fmt.Errorf("%v after the deletion the announcement was withdrawn and players who are on are lost: %w", time.Since(begun), err)
	}
	if err := c.eventually(ctx, patience, "nothing to be left", func(ctx context.Context) error {
		if _, err := c.kube.CoreV1().Pods(gamesNamespace).Get(ctx, barePod, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the pod is still there: %w", err)
		}
		if c.inAWS(string(pod.UID)) {
			return errors.New("something is left in AWS")
		}
		return nil
	}); err != nil {
		return err
	}
	withdrawn, err := agent.when("endpoint withdrawn")
	if err != nil {
		return err
	}
	stopped, err := game.when("udp-echo stopped")
	if err != nil {
		return err
	}
	released, err := agent.when("claim released")
	if err != nil {
		return err
	}
	if !withdrawn.Before(stopped) || !stopped.Before(released) {
		return fmt.Errorf("withdrawn %v, the game stopped %v, the claim was released %v", withdrawn, stopped, released)
	}
	return nil
}

func deletedByForce(ctx context.Context, c *cluster) (err error) {
	pod, err := c.startBarePod(ctx, nil)
	if err != nil {
		return err
	}
	// The kubelet must neither stop the agent gracefully nor restart it.
	resume, err := pauseProcess("kubelet")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resume()) }()
	if err := killProcessesOf(string(pod.UID)); err != nil {
		return err
	}
	lease, err := c.kube.CoordinationV1().Leases(chart.Namespace).Get(ctx, ledger.ClaimName(string(pod.UID)), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the claim: %w", err)
	}
	expires := lease.Spec.RenewTime.Add(claimDuration)
	if _, err := c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, barePod, "--force", "--grace-period=0"); err != nil {
		return err
	}
	if err := c.eventually(ctx, patience, "the janitor to reclaim it", func(context.Context) error {
		if c.inAWS(string(pod.UID)) {
			return errors.New("something is left in AWS")
		}
		return nil
	}); err != nil {
		return err
	}
	if now := time.Now(); now.Before(expires) {
		return fmt.Errorf("it was reclaimed %v before its claim expired", expires.Sub(now))
	}
	return nil
}

func nothingRefused(_ context.Context, c *cluster) error {
	for _, call := range c.aws.Calls() {
		if call.Outcome.Code == "AccessDenied" {
			return fmt.Errorf("%s was refused to %s: %s", call.Action, call.AccessKeyID, call.Outcome.Message)
		}
	}
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	for _, key := range append([]string{allocatorKey}, c.sessions.known...) {
		if len(c.aws.Used(key)) == 0 {
			var calls []string
			for _, call := range c.aws.Calls() {
				if call.AccessKeyID == key {
					calls = append(calls, call.Action+" "+call.Outcome.Code)
				}
			}
			return fmt.Errorf("%s called under no policy: %q", key, calls)
		}
	}
	if len(c.sessions.known) < 6 {
		return fmt.Errorf("only %d pods called", len(c.sessions.known))
	}
	return nil
}
