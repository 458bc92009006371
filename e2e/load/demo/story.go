package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// story is the course of the demo, with counts of what happened.
type story struct {
	*scenario.Stage
	*rig.Rig
	games []*game

	bound, answered, released, reclaimed, orphans int
}

// game is one game-server pod.
type game struct {
	*rig.Pod
	// ports is the setting of the agent; port and programs describe the games.
	ports    string
	port     int
	programs []string
	// networks are the protocols of the players.
	networks []string
	endpoint string
}

func (s *story) complete() bool {
	n := len(s.games)
	return n == 6 && s.bound == n && s.answered == n && s.released == 1 && s.reclaimed == 1 && s.orphans == 0
}

// bind starts six pods: the agent first, as a native sidecar, and the game after the
// agent's startup probe has passed.
func (s *story) bind(ctx context.Context) error {
	for n := range 3 {
		s.games = append(s.games, &game{ports: "game=7777/UDP", port: 7777, programs: []string{"udp-echo"}, networks: []string{"udp"}, Pod: &rig.Pod{Name: fmt.Sprintf("udp-echo-%d", n)}})
	}
	for n := range 2 {
		s.games = append(s.games, &game{ports: "game=8080/TCP", port: 8080, programs: []string{"tcp-echo"}, networks: []string{"tcp"}, Pod: &rig.Pod{Name: fmt.Sprintf("tcp-echo-%d", n)}})
	}
	s.games = append(s.games, &game{ports: "game=7777/TCP_UDP", port: 7777, programs: []string{"udp-echo", "tcp-echo"}, networks: []string{"udp", "tcp"}, Pod: &rig.Pod{Name: "both-echo-0"}})
	s.Say("starting %d game-server pods: three speak UDP, two TCP, one both on one port", len(s.games))
	for _, g := range s.games {
		pod, err := s.NewPod(ctx, g.Name, g.ports)
		if err != nil {
			return err
		}
		g.Pod = pod
		if err := g.Start(); err != nil {
			return err
		}
	}
	for _, g := range s.games {
		if err := g.WaitBound(ctx); err != nil {
			return err
		}
		var err error
		if g.endpoint, err = g.Endpoint(); err != nil {
			return err
		}
		for _, program := range g.programs {
			if err := g.StartGame(program, g.port); err != nil {
				return err
			}
		}
		s.bound++
	}
	return s.Check(ctx)
}

// play dials every endpoint as a player does, through the load balancer.
func (s *story) play(ctx context.Context) error {
	s.Say("dialling each endpoint through its load balancer")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POD\tSPEAKS\tENDPOINT\tANSWER")
	for _, g := range s.games {
		for _, network := range g.networks {
			answer, err := ask(ctx, network, g.endpoint, g.Name)
			if err != nil {
				return err
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", g.Name, network, g.endpoint, answer)
		}
		s.answered++
	}
	return table.Flush()
}

// release terminates one pod as Kubernetes does.
func (s *story) release(ctx context.Context) error {
	g := s.games[0]
	s.Say("ending %s by SIGTERM: its agent releases %s (cooldown %v here, two minutes in production)", g.Name, g.endpoint, cooldown)
	if err := s.comesBack(ctx, g, g.Terminate); err != nil {
		return err
	}
	s.released++
	return nil
}

// reclaim kills one pod, which can release nothing.
func (s *story) reclaim(ctx context.Context) error {
	g := s.games[1]
	s.Say("crashing %s by SIGKILL and deleting its pod: the janitor reclaims %s (claims last %v here, two minutes in production)", g.Name, g.endpoint, claimDuration)
	if err := s.comesBack(ctx, g, g.Crash); err != nil {
		return err
	}
	s.reclaimed++
	return nil
}

// comesBack ends a pod and waits until its port is free again.
func (s *story) comesBack(ctx context.Context, g *game, end func(context.Context) error) error {
	port, err := g.PortOf(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := end(ctx); err != nil {
		return err
	}
	err = rig.Eventually(ctx, g.endpoint+" to be free", func() error {
		now, err := s.Port(ctx, port.Name)
		if err == nil && now.Value.State != ledger.Free {
			err = fmt.Errorf("it is %s", now.Value.State)
		}
		return errors.Join(err, s.Check(ctx))
	})
	if err != nil {
		return err
	}
	if err := s.CheckGone(ctx, g.Pod); err != nil {
		return err
	}
	s.Say("%s is free again after %v", g.endpoint, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// audit searches for orphans and checks that the remaining games still answer.
func (s *story) audit(ctx context.Context) error {
	if err := s.CheckAtRest(ctx); err != nil {
		s.orphans++
		return err
	}
	for _, g := range s.games[2:] {
		if _, err := ask(ctx, g.networks[0], g.endpoint, g.Name); err != nil {
			return err
		}
	}
	return s.Check(ctx)
}

// hold stays up and prints how to look around.
func (s *story) hold(ctx context.Context) error {
	kubeconfig := filepath.Join(os.TempDir(), fmt.Sprintf("portlease-demo-%d.kubeconfig", os.Getpid()))
	if err := s.Kube.Kubeconfig(kubeconfig, s.Kube.AdminConfig()); err != nil {
		return err
	}
	defer os.Remove(kubeconfig) //nolint:errcheck // it leads nowhere any more
	assets, err := kubeapi.Assets(ctx, os.Stderr)
	if err != nil {
		return err
	}
	token, err := s.AdminToken(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Out, "\nStill up. Talk to a game:")
	for _, g := range s.games[2:] {
		host, port := split(g.endpoint)
		flags := map[string]string{"udp": "-u "}[g.networks[0]]
		fmt.Fprintf(s.Out, "  echo hello | nc %s-w 1 %s %s    # %s\n", flags, host, port, g.Name)
	}
	kubectl := fmt.Sprintf("%s --kubeconfig %s", filepath.Join(assets, "kubectl"), kubeconfig)
	fmt.Fprintf(s.Out, "to Kubernetes (the ledger, and what the agents announced):\n  %s -n %s get leases -L portlease.dev/state\n  %s -n %s get pods -o yaml\n", kubectl, s.Namespace, kubectl, s.Games)
	fmt.Fprintf(s.Out, "to the emulated load balancers:\n  AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws --region us-east-1 --endpoint-url %s elbv2 describe-target-groups\n", *s.AWS().BaseEndpoint)
	fmt.Fprintf(s.Out, "to the allocator:\n  curl -sk -H 'Authorization: Bearer %s' %s/v1/ports\nCtrl-C ends it all.\n", token, s.Replicas[0].URL())
	<-ctx.Done()
	fmt.Fprintln(s.Out, "\nstopping")
	return nil
}
