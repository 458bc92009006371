package rig_test

import (
	"strings"
	"testing"

	"github.com/portlease/portlease/e2e/rig"
)

// TestLife checks the main function: a pod gets its port, announces it, and gives it
// back.
func TestLife(t *testing.T) {
	t.Run("processes", func(t *testing.T) { life(t, rig.Config{}) })
	t.Run("in process", func(t *testing.T) { life(t, rig.Config{InProcess: true, Replicas: 2}) })
}

func life(t *testing.T, c rig.Config) {
	r := start(t, c)
	p := newPod(t, r, "game-0", "game=7777/UDP")
	must(t, p.WaitAnnounced(t.Context()))
	check(t, r)
	must(t, r.CheckAtRest(t.Context()))

	endpoint, err := p.Endpoint()
	must(t, err)
	annotations, err := p.Annotations(t.Context())
	must(t, err)
	if got := annotations["portlease.dev/endpoint"]; got != endpoint || endpoint == "" {
		t.Errorf("the file says %q and the annotation %q", endpoint, got)
	}
	port, err := p.PortOf(t.Context())
	must(t, err)
	if !strings.HasSuffix(port.Name, endpoint[strings.LastIndex(endpoint, ":")+1:]) {
		t.Errorf("endpoint %s is not of port lease %s", endpoint, port.Name)
	}

	must(t, p.Terminate(t.Context()))
	check(t, r)
	if endpoint, err := p.Endpoint(); err == nil {
		t.Errorf("endpoint %s is still announced", endpoint)
	}
	must(t, rig.Eventually(t.Context(), "every port to be released", func() error { return r.CheckEmpty(t.Context()) }))
	check(t, r)
}
