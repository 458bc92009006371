//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/shared/elb"
)

// Time limits of the stories. They allow for a small machine that runs a whole node,
// and for the agents' settings.
const (
	patience       = 2 * time.Minute
	gamesNamespace = "games"
)

// story is one behavior to check.
type story struct {
	name   string
	always bool // always runs, because other stories need its result
	ends   bool // uninstalls the chart; skipped if the machine stays up
	run    func(context.Context, *cluster) error
}

// example gives a changed manifest of the examples whose agents reach the emulator.
func example(name string, change func(object map[string]any)) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(chart.Folder(), "../../examples", name))
	if err != nil {
		return nil, fmt.Errorf("reading the example: %w", err)
	}
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("reading the example %s: %w", name, err)
	}
	var variables []any
	if err := yaml.Unmarshal([]byte(credentialsOf("")+"\n  - {name: AWS_REGION, value: "+awsRegion+"}\n"), &variables); err != nil {
		return nil, fmt.Errorf("reading the variables: %w", err)
	}
	pod := podOf(object)
	if containers, byHand := pod["initContainers"].([]any); byHand {
		agent := containers[0].(map[string]any)
		agent["env"] = append(agent["env"].([]any), variables...)
	}
	if change != nil {
		change(object)
	}
	return json.Marshal(object)
}

// podOf gives the pod specification of a Pod or of a workload's template.
func podOf(object map[string]any) map[string]any {
	spec := object["spec"].(map[string]any)
	if template, ok := spec["template"].(map[string]any); ok {
		return template["spec"].(map[string]any)
	}
	return spec
}

// apply applies an example's changed manifest.
func (c *cluster) apply(ctx context.Context, name string, change func(object map[string]any)) error {
	text, err := example(name, change)
	if err != nil {
		return err
	}
	file := c.file("manifest.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("writing a manifest: %w", err)
	}
	_, err = c.kubectl(ctx, "apply", "-f", file)
	return err
}

// pods gives the pods in the games' namespace with that name prefix that are not
// being deleted.
func (c *cluster) pods(ctx context.Context, prefix string) ([]corev1.Pod, error) {
	list, err := c.kube.CoreV1().Pods(gamesNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	var found []corev1.Pod
	for _, p := range list.Items {
		if strings.HasPrefix(p.Name, prefix) && p.DeletionTimestamp == nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// endpointOf gives the endpoint that a matchmaker reads.
func endpointOf(p corev1.Pod) string { return p.Annotations["portlease.dev/endpoint"] }

// networkOf gives the protocol of an example's game.
func networkOf(p corev1.Pod) string {
	if strings.HasPrefix(p.Name, "tcp") {
		return "tcp"
	}
	return "udp"
}

// answering requires n ready pods. Each must have its own endpoint and answer there
// with its own name.
func (c *cluster) answering(ctx context.Context, prefix string, n int) (found []corev1.Pod, err error) {
	err = c.eventually(ctx, patience, fmt.Sprintf("%d pods %s* that answer", n, prefix), func(ctx context.Context) error {
		if found, err = c.pods(ctx, prefix); err != nil {
			return err
		}
		if len(found) != n {
			return fmt.Errorf("there are %d", len(found))
		}
		holders := make(map[string]string)
		for _, p := range found {
			if other, taken := holders[endpointOf(p)]; taken {
				return fmt.Errorf("%s and %s are both at %s", other, p.Name, endpointOf(p))
			}
			holders[endpointOf(p)] = p.Name
			if err := c.answers(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

func (c *cluster) answers(ctx context.Context, p corev1.Pod) error {
	if endpointOf(p) == "" {
		return fmt.Errorf("%s has no endpoint: it is %s", p.Name, p.Status.Phase)
	}
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status != corev1.ConditionTrue {
			return fmt.Errorf("%s is not ready: %s", p.Name, condition.Message)
		}
	}
	said, err := say(ctx, networkOf(p), endpointOf(p), "hello")
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	if want := p.Name + " at " + endpointOf(p); !strings.HasPrefix(said, want) {
		return fmt.Errorf("the endpoint of %s answers %q, want %q", p.Name, said, want)
	}
	return nil
}

// say sends a line to an endpoint and gives the answer.
func say(ctx context.Context, network, endpoint, line string) (answer string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, endpoint)
	if err != nil {
		return "", fmt.Errorf("dialling: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", fmt.Errorf("dialling: %w", err)
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", fmt.Errorf("saying something: %w", err)
	}
	answer, err = bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("waiting for an answer: %w", err)
	}
	return answer, nil
}

// player sends packets to a game over UDP and counts the answers.
type player struct {
	conn           net.Conn
	cancel         context.CancelFunc
	running        sync.WaitGroup
	sent, answered int
	err            error
}

// interval is the time between a player's packets.
const interval = 20 * time.Millisecond

func newPlayer(ctx context.Context, endpoint string) (*player, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", endpoint)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	p := &player{conn: conn}
	ctx, p.cancel = context.WithCancel(ctx)
	p.running.Go(func() {
		packet := make([]byte, 1500)
		for {
			if _, err := conn.Read(packet); errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			} else if err == nil { // a refused packet is not counted
				p.answered++
			}
		}
	})
	p.running.Go(func() {
		for tick := time.NewTicker(interval); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				p.err = conn.SetReadDeadline(time.Now().Add(2 * time.Second)) // for packets in flight
				return
			}
			p.sent++
			if _, err := fmt.Fprintf(conn, "%d\n", p.sent); err != nil {
				p.sent-- // the error says that an earlier packet was refused
			}
		}
	})
	return p, nil
}

// stop requires that every packet was answered.
func (p *player) stop() error {
	p.cancel()
	p.running.Wait()
	if err := errors.Join(p.err, p.conn.Close()); err != nil {
		return err
	}
	if p.sent == 0 || p.answered != p.sent {
		return fmt.Errorf("of %d packets %d were answered", p.sent, p.answered)
	}
	return nil
}

// inAWS reports whether AWS still has anything of a pod.
func (c *cluster) inAWS(uid string) bool {
	s := c.aws.Snapshot()
	for _, l := range s.Listeners {
		if l.Tags[elb.TagPodUID] == uid {
			return true
		}
	}
	for _, g := range s.TargetGroups {
		if g.Tags[elb.TagPodUID] == uid {
			return true
		}
	}
	return false
}
