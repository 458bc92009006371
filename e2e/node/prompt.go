//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// promptPods are as many as a median needs to be steady.
const promptPods = 11

const promptName = "agent start to endpoint, less AWS and its budget"

// prompt starts pods one after another, so that the AWS budget is there, and says
// what the agent's own part is of the time from its start to the endpoint's file:
// what is neither inside a call to AWS nor waiting for the budget. How much that is
// fails no story, because it depends on the machine.
func prompt(ctx context.Context, c *cluster) error {
	var own []time.Duration
	for n := range promptPods {
		name := "udp-echo-prompt-" + strconv.Itoa(n)
		took, err := c.timed(ctx, name)
		_, gone := c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, name)
		if err := errors.Join(err, gone); err != nil {
			return err
		}
		own = append(own, took)
	}
	slices.Sort(own)
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	fmt.Printf("%s: median %v of %d pods, from %v to %v; under 50ms is wanted\n", promptName, ms(own[len(own)/2]), len(own), ms(own[0]), ms(own[len(own)-1]))
	return nil
}

// timed starts a pod and gives its agent's own part of the time.
func (c *cluster) timed(ctx context.Context, name string) (time.Duration, error) {
	if err := c.apply(ctx, "udp-echo/pod.yaml", func(object map[string]any) { object["metadata"].(map[string]any)["name"] = name }); err != nil {
		return 0, err
	}
	var pod *corev1.Pod
	if err := c.eventually(ctx, patience, "the pod to answer", func(ctx context.Context) (err error) {
		if pod, err = c.kube.CoreV1().Pods(gamesNamespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		return c.answers(ctx, *pod)
	}); err != nil {
		return 0, err
	}
	id, err := agentOf(string(pod.UID))
	if err != nil {
		return 0, err
	}
	file, err := os.Stat(filepath.Join("/proc", strconv.Itoa(id), "root/portlease/endpoint"))
	if err != nil {
		return 0, fmt.Errorf("looking at the endpoint's file: %w", err)
	}
	first, err := firstWord(ctx, id)
	if err != nil {
		return 0, err
	}
	began, waited, err := c.agentSaid(ctx, name)
	if err != nil {
		return 0, err
	}
	return first + file.ModTime().Sub(began) - c.calls.busy(pod.Status.PodIP, file.ModTime()) - waited, nil
}

// firstWord is how long the agent's program takes from its start until it says
// something. Of a container's first process one cannot see when its program began,
// because until then it was the runtime's.
func firstWord(ctx context.Context, id int) (time.Duration, error) {
	var took []time.Duration
	for range 5 {
		begun := time.Now()
		if _, err := output(ctx, "/", filepath.Join("/proc", strconv.Itoa(id), "exe"), "--help"); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// agentSaid gives when the agent said that it starts, and how long it says that
// it waited for the AWS budget.
func (c *cluster) agentSaid(ctx context.Context, pod string) (began time.Time, waited time.Duration, _ error) {
	log, err := c.kubectl(ctx, "logs", "--namespace", gamesNamespace, pod, "--container", "portlease")
	if err != nil {
		return began, 0, err
	}
	for line := range strings.Lines(log) {
		var said struct {
			Time    time.Time `json:"time"`
			Msg     string    `json:"msg"`
			Seconds float64   `json:"seconds"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			return began, 0, fmt.Errorf("reading the agent's log: %w", err)
		}
		switch said.Msg {
		case "agent starting":
			began = said.Time
		case "binding waits for its turn at AWS":
			waited += time.Duration(said.Seconds * float64(time.Second))
		}
	}
	if began.IsZero() {
		return began, 0, fmt.Errorf("the agent of %s does not say when it starts:\n%s", pod, log)
	}
	return began, waited, nil
}

// agentOf finds the agent's process of a pod.
func agentOf(uid string) (int, error) {
	agents, err := processes("comm", "agent\n")
	if err != nil {
		return 0, err
	}
	pods, err := processes("cgroup", "pod"+uid)
	if err != nil {
		return 0, err
	}
	for _, id := range agents {
		if slices.Contains(pods, id) {
			return id, nil
		}
	}
	return 0, fmt.Errorf("pod %s has no agent", uid)
}
