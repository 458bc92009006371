//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// noticed is how long it may take until a pod says that its game is dead.
const noticed = 15 * time.Second

func gameKilledUDP(ctx context.Context, c *cluster) error { return gameKilled(ctx, c, "udp-echo") }

func gameKilledTCP(ctx context.Context, c *cluster) error { return gameKilled(ctx, c, "tcp-echo") }

// gameKilled kills the game of a bare pod and nothing else of it. The kubelet starts it
// again, after a pause that grows with each death: the third leaves enough time to look.
func gameKilled(ctx context.Context, c *cluster, game string) (err error) {
	if err := c.apply(ctx, game+"/pod.yaml", nil); err != nil {
		return err
	}
	defer func() {
		_, deletion := c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, game)
		err = errors.Join(err, deletion)
	}()
	pod, err := c.gameState(ctx, game, patience, true)
	if err != nil {
		return err
	}
	killed := make(map[int]bool)
	for range 3 {
		if err := c.eventually(ctx, patience, "the game to be killed", func(context.Context) error { return killGame(pod, game, killed) }); err != nil {
			return err
		}
	}
	if _, err := c.gameState(ctx, game, noticed, false); err != nil {
		return err
	}
	if err := c.eventually(ctx, noticed, "the event GameStopped", func(ctx context.Context) error { return c.hasEvent(ctx, pod, "GameStopped") }); err != nil {
		return err
	}
	if _, err := c.gameState(ctx, game, patience, true); err != nil {
		return err
	}
	return c.hasEvent(ctx, pod, "GameBack")
}

// killGame kills the process of a pod's game and notes its id. It has to run, and not to be
// one that was killed before: a process stays for a moment.
func killGame(pod corev1.Pod, game string, killed map[int]bool) error {
	own, err := processes("cgroup", "pod"+string(pod.UID))
	if err != nil {
		return err
	}
	named, err := processes("comm", game+"\n")
	if err != nil {
		return err
	}
	at := slices.IndexFunc(named, func(id int) bool { return slices.Contains(own, id) && !killed[id] })
	if at < 0 {
		return fmt.Errorf("the game of %s does not run", pod.Name)
	}
	killed[named[at]] = true
	return syscall.Kill(named[at], syscall.SIGKILL)
}

// gameState waits until condition, readiness, the agent's probe and its metric all say
// that the game of a pod is up, or that it is not.
func (c *cluster) gameState(ctx context.Context, name string, within time.Duration, up bool) (pod corev1.Pod, err error) {
	what := map[bool]string{true: "the pod to say that its game is up", false: "the pod to say that its game has stopped"}[up]
	err = c.eventually(ctx, within, what, func(ctx context.Context) error {
		p, err := c.kube.CoreV1().Pods(gamesNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod = *p
		var errs []error
		for typ, reason := range map[corev1.PodConditionType]string{"portlease.dev/Reachable": "GameStopped", corev1.PodReady: ""} {
			at := slices.IndexFunc(p.Status.Conditions, func(has corev1.PodCondition) bool { return has.Type == typ })
			if at < 0 {
				errs = append(errs, fmt.Errorf("it has no condition %s", typ))
				continue
			}
			has := p.Status.Conditions[at]
			if (has.Status == corev1.ConditionTrue) != up || !up && reason != "" && has.Reason != reason {
				errs = append(errs, fmt.Errorf("condition %s is %s, %s: %s", typ, has.Status, has.Reason, has.Message))
			}
		}
		return errors.Join(append(errs, agentSays(ctx, p.Status.PodIP, up))...)
	})
	return pod, err
}

// agentSays asks the agent itself.
func agentSays(ctx context.Context, ip string, up bool) error {
	status, answer, err := getAgent(ctx, ip, "/readyz")
	if err != nil {
		return err
	}
	if (status == http.StatusOK) != up {
		return fmt.Errorf("/readyz answers %d %s", status, answer)
	}
	_, metrics, err := getAgent(ctx, ip, "/metrics")
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("portlease_agent_game_up %d\n", map[bool]int{true: 1}[up]); !strings.Contains(metrics, want) {
		return fmt.Errorf("the metrics lack %q", want)
	}
	return nil
}

func getAgent(ctx context.Context, ip, path string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(ip, "9901")+path, nil)
	if err != nil {
		return 0, "", fmt.Errorf("asking the agent: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("asking the agent: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", fmt.Errorf("asking the agent: %w", err)
	}
	return resp.StatusCode, string(text), nil
}

func (c *cluster) hasEvent(ctx context.Context, pod corev1.Pod, reason string) error {
	list, err := c.kube.CoreV1().Events(gamesNamespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID) + ",reason=" + reason})
	if err != nil {
		return fmt.Errorf("listing events: %w", err)
	}
	if len(list.Items) != 1 {
		return fmt.Errorf("%s has %d events %s, want one that is counted", pod.Name, len(list.Items), reason)
	}
	return nil
}
