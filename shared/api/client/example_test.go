package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
)

// fakeAllocator serves one answer.
func fakeAllocator(status int, mediaType string, answer any) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			panic(err)
		}
	}))
}

// An agent claims the ports of its pod. An exhausted pool is not an error to give up on:
// the answer says when to claim again.
func ExampleClient_Claim() {
	allocator := fakeAllocator(http.StatusCreated, "application/json", api.Claim{
		UID: "0d3c", LoadBalancer: api.LoadBalancer{Host: "games.example.com"},
		Ports: []api.ClaimedPort{{Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: 30000}},
	})
	defer allocator.Close()
	c, err := client.New(client.Config{URL: allocator.URL}) // in a pod, also TokenFile and CAFile
	if err != nil {
		panic(err)
	}
	claim, err := c.Claim(context.Background(), "games", "game-0", api.ClaimRequest{
		PodUID: "8f7b", PodIP: "10.0.3.7", Pool: "default", HealthPort: 9902,
		Ports: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}},
	})
	var problem *api.Problem
	switch {
	case errors.Is(err, api.ErrExhausted) && errors.As(err, &problem):
		fmt.Println("no free port; claim again after", problem.RetryAfter)
	case err != nil:
		panic(err)
	default:
		fmt.Printf("players connect to %s:%d\n", claim.LoadBalancer.Host, claim.Ports[0].ListenerPort)
	}
	// Output: players connect to games.example.com:30000
}

// A renewal that fails with ErrLost is the allocator's decision: the agent withdraws its
// endpoints. After any other error the claim may still be valid, and the agent renews
// again.
func ExampleClient_Renew() {
	allocator := fakeAllocator(http.StatusGone, api.ProblemType, api.Errorf(api.Lost, "the claim is over"))
	defer allocator.Close()
	c, err := client.New(client.Config{URL: allocator.URL})
	if err != nil {
		panic(err)
	}
	_, err = c.Renew(context.Background(), "games", "game-0", api.RenewRequest{ClaimUID: "0d3c", PodIP: "10.0.3.7"})
	fmt.Println("withdraw the endpoints:", errors.Is(err, api.ErrLost))
	// Output: withdraw the endpoints: true
}

// An admin blocks a port. Its holder keeps it until the release.
func ExampleClient_Block() {
	allocator := fakeAllocator(http.StatusOK, "application/json", api.PortView{
		Lease: "0123456789abcdef-30000", State: "bound", Pod: "game-0", BlockedBy: "alice: under attack",
	})
	defer allocator.Close()
	c, err := client.New(client.Config{URL: allocator.URL})
	if err != nil {
		panic(err)
	}
	port, err := c.Block(context.Background(), "0123456789abcdef", 30000, "under attack")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s is %s by %s; blocked by %s\n", port.Lease, port.State, port.Pod, port.BlockedBy)
	// Output: 0123456789abcdef-30000 is bound by game-0; blocked by alice: under attack
}
