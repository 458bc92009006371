//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
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

const (
	promptPods = 11
	promptMost = 50 * time.Millisecond
	// ticks a second, in which the kernel tells when a process began.
	ticks = 100
)

// prompt starts pods one after another, so that the AWS budget is there, and wants
// the agent's own part of the time from its start to the endpoint's file to be short:
// what is neither inside a call to AWS nor waiting for the budget.
func prompt(ctx context.Context, c *cluster) error {
	var own []time.Duration
	for n := range promptPods {
		name := "udp-echo-prompt-" + strconv.Itoa(n)
		took, err := c.timed(ctx, name)
		if err != nil {
			return err
		}
		own = append(own, took)
		if _, err := c.kubectl(ctx, "delete", "pod", "--namespace", gamesNamespace, name); err != nil {
			return err
		}
	}
	slices.Sort(own)
	fmt.Printf("        an agent's own part of the time from its start to the endpoint: median %v, of %d pods from %v to %v\n",
		own[len(own)/2].Round(time.Millisecond), len(own), own[0].Round(time.Millisecond), own[len(own)-1].Round(time.Millisecond))
	if median := own[len(own)/2]; median > promptMost {
		return fmt.Errorf("the median is %v, at most %v is wanted", median, promptMost)
	}
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
	begun, err := startOf(id)
	if err != nil {
		return 0, err
	}
	file, err := os.Stat(filepath.Join("/proc", strconv.Itoa(id), "root/portlease/endpoint"))
	if err != nil {
		return 0, fmt.Errorf("looking at the endpoint's file: %w", err)
	}
	waited, err := c.waitedForBudget(ctx, name)
	if err != nil {
		return 0, err
	}
	return file.ModTime().Sub(begun) - c.calls.busy(pod.Status.PodIP, file.ModTime()) - waited, nil
}

// waitedForBudget is what the agent says of its waiting.
func (c *cluster) waitedForBudget(ctx context.Context, pod string) (time.Duration, error) {
	log, err := c.kubectl(ctx, "logs", "--namespace", gamesNamespace, pod, "--container", "portlease")
	if err != nil {
		return 0, err
	}
	var total float64
	for line := range strings.Lines(log) {
		var said struct {
			Msg     string  `json:"msg"`
			Seconds float64 `json:"seconds"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			return 0, fmt.Errorf("reading the agent's log: %w", err)
		}
		if said.Msg == "binding waits for its turn at AWS" {
			total += said.Seconds
		}
	}
	return time.Duration(total * float64(time.Second)), nil
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

// startOf is when a process began, to a hundredth of a second.
func startOf(id int) (time.Time, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "stat"))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when process %d began: %w", id, err)
	}
	// The name, in parentheses, is the second field; the start is the 22nd.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	since, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when process %d began: %w", id, err)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the machine began: %w", err)
	}
	up, _, _ := strings.Cut(string(uptime), " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the machine began: %w", err)
	}
	age := time.Duration(seconds*float64(time.Second)) - time.Duration(since)*time.Second/ticks
	return time.Now().Add(-age), nil
}
