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

// promptPods is large enough for a stable median.
const promptPods = 11

const promptName = "agent start to endpoint, less AWS and its budget"

// prompt starts pods one after another, so that none waits long for the AWS budget.
// It prints the agent's own part of the time until the endpoint file exists: without
// AWS calls and waiting for the budget. Both come from the agent's debug log. The
// time depends on the machine, so it never fails the story.
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
	fmt.Printf("%s: median %v of %d pods, from %v to %v; under 40ms is wanted\n", promptName, ms(own[len(own)/2]), len(own), ms(own[0]), ms(own[len(own)-1]))
	return nil
}

// timed starts a pod and gives its agent's own part of the startup time.
func (c *cluster) timed(ctx context.Context, name string) (time.Duration, error) {
	if err := c.apply(ctx, "udp-echo/pod.yaml", func(object map[string]any) {
		object["metadata"].(map[string]any)["name"] = name
		agent := podOf(object)["initContainers"].([]any)[0].(map[string]any)
		agent["env"] = append(agent["env"].([]any), map[string]any{"name": "PORTLEASE_LOG_LEVEL", "value": "debug"})
	}); err != nil {
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
	first, err := startDuration(ctx, id)
	if err != nil {
		return 0, err
	}
	log, err := c.kubectl(ctx, "logs", "--namespace", gamesNamespace, name, "--container", "portlease")
	if err != nil {
		return 0, err
	}
	began, others, err := awsTime(log, file.ModTime())
	if err != nil {
		return 0, fmt.Errorf("reading the log of %s's agent: %w\n%s", name, err, log)
	}
	return first + file.ModTime().Sub(began) - others, nil
}

// startDuration measures how long the agent's program takes from its start to its
// first output. It runs the program separately, because a container's first process
// has the start time of the runtime.
func startDuration(ctx context.Context, id int) (time.Duration, error) {
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

// awsTime reads from an agent's log when the agent began. others is the time until
// then spent in at least one AWS call or waiting for the budget.
func awsTime(log string, until time.Time) (began time.Time, others time.Duration, _ error) {
	var inAWS time.Time // end of the AWS time counted so far
	calls := 0
	for line := range strings.Lines(log) {
		var said struct {
			Time    time.Time `json:"time"`
			Msg     string    `json:"msg"`
			Took    float64   `json:"tookSeconds"`
			Seconds float64   `json:"seconds"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			return began, 0, err
		}
		switch said.Msg {
		case "agent starting":
			began = said.Time
		case "waiting in the queue for AWS calls":
			others += time.Duration(said.Seconds * float64(time.Second))
		case "AWS called":
			if said.Time.After(until) {
				continue
			}
			// The log lists calls in the order of their ends. At most two overlap.
			calls++
			others += min(time.Duration(said.Took*float64(time.Second)), said.Time.Sub(inAWS))
			inAWS = said.Time
		}
	}
	if began.IsZero() || calls == 0 {
		return began, 0, errors.New("it does not tell of the agent's start and of its calls to AWS")
	}
	return began, others, nil
}

// agentOf finds the agent process of a pod.
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
