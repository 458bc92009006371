package pool_test

import (
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/pool"
)

// The pod comes back: it gets its last port although another load balancer has
// fewer listeners.
func ExampleChoose() {
	ranges := []pool.Range{{From: 30000, To: 30049}}
	busy := pool.Candidate{ARN: "busy", Ranges: ranges, Listeners: 40, Limit: 50, Preferred: map[int]bool{30007: true}}
	idle := pool.Candidate{ARN: "idle", Ranges: ranges, Listeners: 0, Limit: 50}
	stocks := []pool.Stock{busy.Stock(), idle.Stock()}
	choice, err := pool.Choose(stocks, pool.Request{Ports: 1, Seed: "pod-uid", Placement: pool.Spread})
	fmt.Println(choice.ARN, choice.Ports, err)

	_, err = pool.Choose(stocks, pool.Request{Ports: 51, Seed: "pod-uid"})
	fmt.Println(errors.Is(err, pool.ErrExhausted))
	// Output:
	// busy [30007] <nil>
	// true
}

func ExampleSubtract() {
	listenerPorts, _ := pool.ParseRange("30000-30049")
	excluded, _ := pool.ParseRange("30010-30019")
	fmt.Println(pool.Subtract([]pool.Range{listenerPorts}, []pool.Range{excluded}))
	// Output: [30000-30009 30020-30049]
}
