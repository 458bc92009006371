package httpapi_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api"
)

// TestFleetIsServedInTurnThoughTheAPIServerIsSlow lets a thousand pods claim at once, and
// each claim takes a second. Those that come back when they were told to are served as fast
// as claims can be, with few calls, and renewals are served at once meanwhile.
func TestFleetIsServedInTurnThoughTheAPIServerIsSlow(t *testing.T) {
	const (
		pods    = 1000
		service = time.Second
		running = 32
	)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.do = func(context.Context) error { time.Sleep(service); return nil } // in the bubble
		w.config.Now = time.Now
		w.Handler = httpapi.New(w.config)
		var calls atomic.Int64
		begun := time.Now()
		var last atomic.Int64
		var fleet sync.WaitGroup
		for n := range pods {
			name := podNumber(n)
			fleet.Go(func() {
				for {
					calls.Add(1)
					out := w.send(t, addressOf(name), http.MethodPut, api.ClaimPath("games", name), name, body(t, api.ClaimRequest{}))
					if out.Code == http.StatusOK {
						last.Store(max(last.Load(), int64(time.Since(begun))))
						return
					}
					seconds, err := strconv.Atoi(out.Header().Get("Retry-After"))
					if err != nil || seconds < 1 || seconds > 60 {
						t.Errorf("%d with Retry-After %q", out.Code, out.Header().Get("Retry-After"))
						return
					}
					time.Sleep(time.Duration(seconds) * time.Second) // in the bubble
				}
			})
		}
		time.Sleep(10 * time.Second) // in the bubble, in the middle of it
		asked := time.Now()
		out := w.send(t, addressOf("holder"), http.MethodPost, api.ClaimPath("games", "holder")+api.CallRelease, "holder", body(t, api.ReleaseRequest{ClaimUID: "c"}))
		if took := time.Since(asked); out.Code != http.StatusOK || took != service {
			t.Errorf("a call of a pod that holds ports: %d after %v", out.Code, took)
		}
		fleet.Wait()
		least := pods / running * service
		if took := time.Duration(last.Load()); took > least+least/2 {
			t.Errorf("all were served after %v, and %v is the least", took, least)
		}
		if n := calls.Load(); n > 3*pods {
			t.Errorf("%d calls for %d pods", n, pods)
		}
		t.Logf("%v for %d claims, of which the least is %v, with %d calls", time.Duration(last.Load()), pods, least, calls.Load())
	})
}

// TestClockThatIsSetMakesNobodyWait: while a call runs, the clock is set back or forward.
func TestClockThatIsSetMakesNobodyWait(t *testing.T) {
	for _, set := range []time.Duration{-time.Hour, time.Hour} {
		w := newWorld()
		w.do = func(context.Context) error { w.now = w.now.Add(set); return nil }
		for n := range 10 {
			name := podNumber(n)
			if out := w.send(t, addressOf(name), http.MethodPut, api.ClaimPath("games", name), name, body(t, api.ClaimRequest{})); out.Code != http.StatusOK {
				t.Errorf("call %d after the clock was set by %v: %d %s", n, set, out.Code, out.Body)
			}
		}
	}
}
