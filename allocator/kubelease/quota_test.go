package kubelease_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// limited is twoPorts with fifty ports and a quota.
type limited struct {
	twoPorts
	perNamespace int
}

func (l limited) Pool(name string) (pool.Pool, bool) {
	p, known := l.twoPorts.Pool(name)
	p.LoadBalancers[0].Ranges = []pool.Range{{From: 30000, To: 30049}}
	p.Terms.Quota.PerNamespace = l.perNamespace
	return p, known
}

// TestQuotaOfANamespaceIsExact: all pods of a namespace claim at once, on two replicas.
// Never are more of them granted ports than the quota allows, and never fewer for long.
func TestQuotaOfANamespaceIsExact(t *testing.T) {
	const pods, quota = 24, 5
	namespace := newNamespace(t)
	replicas := []replica{open(t, namespace, nil), open(t, namespace, nil)}
	var mu sync.Mutex
	granted := make(map[string]bool)
	var all sync.WaitGroup
	for n := range pods {
		all.Go(func() {
			service := newService(replicas[n%2], limited{perNamespace: quota})
			pod := strconv.Itoa(n + 1)
			for t.Context().Err() == nil {
				_, err := claimOnePort(t.Context(), service, pod)
				if errors.Is(err, api.ErrQuota) {
					return
				}
				mu.Lock()
				granted[pod] = err == nil
				mu.Unlock()
				if err == nil {
					return
				}
				if !errors.Is(err, &api.Problem{Code: api.Pending}) && !errors.Is(err, &api.Problem{Code: api.Unavailable}) {
					t.Errorf("pod %s: %v", pod, err)
					return
				}
				time.Sleep(20 * time.Millisecond) // the answer says to ask again
			}
		})
	}
	all.Wait()
	held, answered := 0, 0
	for n := range pods {
		pod := strconv.Itoa(n + 1)
		if granted[pod] {
			answered++
		}
		r, err := replicas[0].Claims().Get(t.Context(), ledger.ClaimName("uid-"+pod))
		switch {
		case err == nil && r.Value.State == ledger.Granted:
			held++
		case !errors.Is(err, ledger.ErrAbsent):
			t.Errorf("the claim of pod %s, which was refused, is %+v, %v", pod, r.Value, err)
		}
	}
	if answered != quota || held != quota {
		t.Errorf("%d pods were granted ports, %d claims have ports; want %d", answered, held, quota)
	}
}
