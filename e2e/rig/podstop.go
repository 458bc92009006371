package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/portlease/portlease/agent/app"
)

// grace is the pods' grace period, the default of Kubernetes.
const grace = 30 * time.Second

// Delete begins the pod's termination: it deletes the pod object with a grace period
// and runs the preStop hook. The hook does not run if the agent does not run.
func (p *Pod) Delete(ctx context.Context) error {
	if err := p.rig.Kube.TerminatePod(ctx, p.rig.Games, p.Name, grace); err != nil {
		return err
	}
	if !p.Running() {
		return nil
	}
	return p.Say(ctx, app.PathPreStop)
}

// Say posts to the agent's local API, as the game and the preStop hook do.
func (p *Pod) Say(ctx context.Context, path string) error {
	status, body, err := call(ctx, p.rig.HTTP(), http.MethodPost, "http://"+p.local+path, "", "")
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("the agent of %s answers %d to %s: %s", p.Name, status, path, body)
	}
	return err
}

// Terminate ends a pod that has a native sidecar, as a kubelet does. It deletes the
// pod object, runs the preStop hook, ends the games, and sends SIGTERM to the agent.
// The agent must end with code 0 before the pod object is removed.
func (p *Pod) Terminate(ctx context.Context) error {
	if err := p.Delete(ctx); err != nil {
		return err
	}
	if err := p.EndGames(ctx); err != nil {
		return err
	}
	if err := p.Signal(); err != nil {
		return err
	}
	if err := p.WaitEnded(ctx); err != nil {
		return err
	}
	return p.Crash(ctx)
}

// Crash kills the pod's processes and removes the pod object. It stops an agent that
// runs in this process instead.
func (p *Pod) Crash(ctx context.Context) error {
	if err := p.stopProcesses(); err != nil {
		return err
	}
	return p.Remove(ctx)
}

// Remove removes the pod object but leaves its processes running, as when an admin
// force-deletes a pod on a partitioned node.
func (p *Pod) Remove(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil
	}
	if err := p.rig.Kube.RemovePod(ctx, p.rig.Games, p.Name); err != nil {
		return err
	}
	p.gone = true
	return nil
}

func (p *Pod) stopProcesses() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	errs := []error{p.agent.end(ctx)}
	errs = append(errs, p.EndGames(ctx))
	return errors.Join(append(errs, p.allocator.close(), p.kube.close())...)
}

// EndGames kills the pod's games.
func (p *Pod) EndGames(ctx context.Context) error {
	p.mu.Lock()
	games := p.games
	p.mu.Unlock()
	var errs []error
	for _, game := range games {
		errs = append(errs, game.kill(ctx))
	}
	return errors.Join(errs...)
}

// WaitEnded waits until the agent has ended by itself with code 0.
func (p *Pod) WaitEnded(ctx context.Context) error {
	code, err := p.Ended(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("agent of %s ended with code %d", p.Name, code)
	}
	return err
}

// WaitAnnounced waits until the pod is bound and its annotations say so.
func (p *Pod) WaitAnnounced(ctx context.Context) error {
	if err := p.WaitBound(ctx); err != nil {
		return err
	}
	return Eventually(ctx, p.Name+" to be annotated", func() error {
		annotations, err := p.Annotations(ctx)
		if err == nil && annotations["portlease.dev/endpoint"] == "" {
			err = errors.New("it has no endpoint")
		}
		return err
	})
}

// Withdrawn returns nil once neither file nor annotation has an endpoint.
func (p *Pod) Withdrawn(ctx context.Context) error {
	if endpoint, err := p.Endpoint(); err == nil {
		return fmt.Errorf("the file of %s says %s", p.Name, endpoint)
	}
	annotations, err := p.Annotations(ctx)
	if err == nil && annotations["portlease.dev/endpoint"] != "" {
		err = fmt.Errorf("the annotation of %s says %s", p.Name, annotations["portlease.dev/endpoint"])
	}
	return err
}

// Logged returns nil once the agent has logged a text.
func (p *Pod) Logged(text string) error {
	log, err := p.Log()
	if err == nil && !strings.Contains(log, text) {
		err = fmt.Errorf("the agent of %s has not logged %q", p.Name, text)
	}
	return err
}
