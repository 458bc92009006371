package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReadinessProbesShareOneRequestToTheAPIServer: nobody needs a token for one.
func TestReadinessProbesShareOneRequestToTheAPIServer(t *testing.T) {
	w := newWorld(t)
	probed := func() int { return w.requests.count(http.MethodGet, "/leases/portlease-janitor") }
	elections := func() int { return w.requests.count(http.MethodPut, "/leases/portlease-janitor") }
	before, renewed, start := probed(), elections(), time.Now()
	var probes sync.WaitGroup
	for n := range 20 {
		probes.Go(func() {
			client := w.from(fmt.Sprintf("127.11.0.%d", 1+n))
			for range 100 {
				if status, body := w.call(client, http.MethodGet, "/readyz", ""); status != http.StatusOK {
					w.Errorf("a probe was answered %d %s", status, body)
				}
			}
		})
	}
	probes.Wait()
	// One a second, and one for each part of a second at both ends. The election reads the
	// same Lease as often as it writes it, or less.
	allowed := int(time.Since(start)/time.Second) + 2 + elections() - renewed
	if cost := probed() - before; cost > allowed {
		t.Errorf("2000 probes cost %d requests to the API server, want %d at most", cost, allowed)
	}
}

// TestEachKindOfRequestHasAClientOfItsOwn: a flood of probes or of tokens delays neither
// claims nor the election of the leader.
func TestEachKindOfRequestHasAClientOfItsOwn(t *testing.T) {
	w := newWorld(t)
	token := w.pod("game-0", "10.0.0.10")
	w.call(w.from("127.12.0.1"), http.MethodDelete, "/v1/pods/"+w.games+"/game-0/claim?claimUID=none", token)
	w.requests.mu.Lock()
	defer w.requests.mu.Unlock()
	const name = "portlease-allocator"
	want := []string{name, name + "-election", name + "-probes", name + "-reviews"}
	var clients []string
	owner := make(map[string]string)
	for agent, connections := range w.requests.connections {
		client := agent[strings.LastIndexByte(agent, '/')+1:]
		clients = append(clients, client)
		for connection := range maps.Keys(connections) {
			if other := owner[connection]; other != "" {
				t.Errorf("%s and %s share connection %s", other, client, connection)
			}
			owner[connection] = client
		}
	}
	if slices.Sort(clients); !slices.Equal(clients, want) {
		t.Errorf("the clients are %q, want %q", clients, want)
	}
}

// TestReadinessFollowsTheAPIServerAndHidesItsErrors: the answer needs no token, so it
// must not tell internals.
func TestReadinessFollowsTheAPIServerAndHidesItsErrors(t *testing.T) {
	w := newWorld(t)
	probe := func(want int) func() error {
		return func() error {
			status, body := w.call(http.DefaultClient, http.MethodGet, "/readyz", "")
			if strings.Contains(body, "10.96") || strings.Contains(body, "dial") {
				t.Fatalf("the probe tells %q", body)
			}
			if status != want {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		}
	}
	w.requests.cutOff("portlease-allocator-probes")
	w.eventually("the allocator to be unready", probe(http.StatusServiceUnavailable))
	if !strings.Contains(w.log.String(), errCutOff.Error()) {
		t.Error("the log does not have the cause")
	}
	w.requests.cutOff("")
	w.eventually("the allocator to be ready again", probe(http.StatusOK))
}
