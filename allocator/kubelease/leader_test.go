package kubelease_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/kubelease"
)

// When the leader stops, the other replica follows before the Lease expires.
func TestOneReplicaLeadsAndTheNextFollowsAtOnce(t *testing.T) {
	namespace := newNamespace(t)
	leading := make(chan string)
	stood := make(chan string, 2)
	stand := func(identity string) (stop context.CancelFunc, ended <-chan error) {
		ctx, stop := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- kubelease.Lead(ctx, newClient(t, cluster.AdminConfig()), namespace, identity, slog.New(slog.DiscardHandler),
				func(ctx context.Context) {
					leading <- identity
					<-ctx.Done()
					stood <- identity
				})
		}()
		return stop, result
	}
	stops, ends := make(map[string]context.CancelFunc), make(map[string]<-chan error)
	stops["a"], ends["a"] = stand("a")
	stops["b"], ends["b"] = stand("b")
	first := <-leading
	stopped := time.Now()
	stops[first]()
	must(t, <-ends[first])
	if got := <-stood; got != first {
		t.Errorf("%s stopped, %s lost the election", first, got)
	}
	second := <-leading
	if second == first {
		t.Errorf("%s became leader after it stopped", first)
	}
	if took := time.Since(stopped); took > 12*time.Second {
		t.Errorf("the other replica leads after %v, as if the Lease had to expire", took)
	}
	stops[second]()
	must(t, <-ends[second])
}
